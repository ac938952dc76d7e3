"""The "python version" of CIFAR-10: pickled batches, read without running what a pickle may hold.

Each batch is a dictionary with `data`, bytes [N, 3072] (red, green, blue planes of 32 x 32), and
`labels`, a list of N integers 0..9.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError

FOLDER = "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST = ("test_batch",)
META = "batches.meta"
SHAPE = (3, 32, 32)
N_CLASSES = 10


def _latin1(text: str, encoding: str) -> bytes:
    """Do what `_codecs.encode` does for the byte strings of a Python 3 pickle, and no more."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the codec {encoding!r} has no place in a CIFAR-10 batch")
    return text.encode("latin1")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes | str) -> NDArray[Any]:
    """Make the empty array that its state then fills; the only call that a NumPy pickle makes."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"{kind!r} is no array")
    return np.ndarray.__new__(np.ndarray, shape, "b")


class BatchUnpickler(pickle.Unpickler):
    """Unpickle arrays, numbers, text, lists and dictionaries; refuse every other object."""

    ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no CIFAR-10 batch needs"
            )
        return self.ALLOWED[module, name]


def _load(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content = BatchUnpickler(file, encoding="bytes").load()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing") from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to spell
        raise DataError(
            f"{path} is no readable file of CIFAR-10: {error}. Fetch the archive again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, expected a dictionary")
    return content


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images [N, 3, 32, 32] and labels [N] of one batch file.

    Raises DataError, naming the file, where it is missing, damaged, no CIFAR-10 batch, or a pickle
    with anything but arrays and plain values.
    """
    batch = _load(path)
    data, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(data, np.ndarray) or not isinstance(labels, list):
        raise DataError(f"{path} is a pickle without the entries data and labels of CIFAR-10")
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != np.prod(SHAPE):
        raise DataError(f"{path} holds {data.dtype} {data.shape}, expected bytes [N, 3072]")
    if len(data) != len(labels):
        raise DataError(f"{path} holds {len(data)} images but {len(labels)} labels")
    if any(not isinstance(k, int) or not 0 <= k < N_CLASSES for k in labels):
        raise DataError(f"{path} holds labels other than 0..{N_CLASSES - 1}")
    return data.reshape(-1, *SHAPE), np.array(labels, np.int64)


def read_part(folder: Path, names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read several batch files, in order."""
    batches = [read_batch(folder / name) for name in names]
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches])


def check_names(folder: Path, expected: tuple[str, ...]) -> None:
    """Raise DataError where batches.meta is missing or names other classes, or another order."""
    path = folder / META
    names = _load(path).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(n, bytes) for n in names):
        raise DataError(f"{path} lacks the list label_names")
    found = tuple(n.decode("utf-8", "replace") for n in names)
    if found != expected:
        raise DataError(f"{path} names the classes {found}, expected {expected}")


def write_batch(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write a batch file as the official ones stand: protocol 2, byte-string keys."""
    batch = {b"data": images.reshape(len(images), -1), b"labels": labels.tolist()}
    path.write_bytes(pickle.dumps(batch, protocol=2))


def write_names(path: Path, names: tuple[str, ...]) -> None:
    """Write batches.meta."""
    path.write_bytes(pickle.dumps({b"label_names": [n.encode() for n in names]}, protocol=2))
