"""IDX files, the format of MNIST and its relatives: read, check, write; plain or gzipped.

An IDX file is a magic number (two zero bytes, 8 for unsigned byte, the number of dimensions), the
sizes as big-endian 32-bit integers, then the bytes in C order.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8
#: the four files of a set, by split and content
STEMS = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with `ndim` dimensions, gzipped or not.

    Raises DataError, naming the file, where it cannot be read, is no such IDX file, or is shorter
    or longer than its header says.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(GZIP_MAGIC):
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Fetch the file again") from error
    expected = bytes([0, 0, UNSIGNED_BYTE, ndim])
    if raw[:4] != expected:
        raise DataError(
            f"{path} starts with the bytes {raw[:4].hex(' ') or 'nothing'}, but an IDX file of "
            f"{ndim}-dimensional unsigned bytes starts with {expected.hex(' ')}. "
            "Is it another file under this name? Fetch it again"
        )
    header = 4 + 4 * ndim
    if len(raw) < header:
        raise DataError(f"{path} ends within its header: {len(raw)} of {header} bytes")
    shape = struct.unpack(f">{ndim}I", raw[4:header])
    wanted = header + int(np.prod(shape, dtype=np.int64))
    if len(raw) != wanted:
        what = "truncated" if len(raw) < wanted else "too long"
        raise DataError(
            f"{path} is {what}: its header promises {' x '.join(map(str, shape))}, {wanted} bytes "
            f"with the header, but it has {len(raw)}. Fetch the file again"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write unsigned bytes as a gzipped IDX file, the same bytes each time."""
    head = bytes([0, 0, UNSIGNED_BYTE, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    # mtime=0: the clock would otherwise stand in the file
    temporary.write_bytes(gzip.compress(head + np.ascontiguousarray(array).tobytes(), mtime=0))
    temporary.replace(path)


def find_idx(folder: Path, stem: str) -> Path | None:
    """Return the file of a set in `folder`: unzipped, gzipped, or with the dot of some archives."""
    for name in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")):
        if (folder / name).is_file():
            return folder / name
    return None


def holds_set(folder: Path) -> bool:
    """Whether any of the four files lies in `folder`."""
    return any(find_idx(folder, stem) is not None for stem in STEMS.values())


def read_set(
    folder: Path, image_shape: tuple[int, int], n_classes: int
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Read images [N, H, W] and labels [N] of the splits `train` and `test`.

    Raises DataError where a file is missing or damaged, images and labels differ in number, images
    have another size, or a label lies outside 0..n_classes-1.
    """
    arrays: dict[tuple[str, str], NDArray[Any]] = {}
    paths: dict[tuple[str, str], Path] = {}
    missing = [stem for stem in STEMS.values() if find_idx(folder, stem) is None]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)} (.gz or not)")
    for (split, content), stem in STEMS.items():
        path = find_idx(folder, stem)
        assert path is not None
        paths[split, content] = path
        arrays[split, content] = read_idx(path, 3 if content == "images" else 1)
    for split in ("train", "test"):
        images, labels = arrays[split, "images"], arrays[split, "labels"]
        where, label_file = paths[split, "images"], paths[split, "labels"]
        if len(images) != len(labels):
            raise DataError(
                f"{where} holds {len(images)} images but {label_file.name} {len(labels)} labels: "
                "the two files are not of one set"
            )
        if images.shape[1:] != image_shape:
            raise DataError(f"{where} holds images of {images.shape[1:]}, expected {image_shape}")
        if not len(images):
            raise DataError(f"{where} holds no images")
        if labels.max() >= n_classes:
            raise DataError(
                f"{label_file} holds the label {labels.max()}, expected 0..{n_classes - 1}"
            )
    return {
        split: (arrays[split, "images"], arrays[split, "labels"].astype(np.int64))
        for split in ("train", "test")
    }


def digest(labels: NDArray[np.integer]) -> str:
    """Return the SHA-256 of labels as bytes: it tells one complete set from another."""
    return hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()
