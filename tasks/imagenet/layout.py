"""ILSVRC2012 on disk: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or the archives they come from.

The archives: ILSVRC2012_img_train.tar (one tar a class inside), ILSVRC2012_img_val.tar (50,000
files, no folders) and ILSVRC2012_devkit_t12.tar.gz, which tells the class of each validation image.
"""

from __future__ import annotations

import os
import re
import tarfile
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.io import loadmat

from snnexp.data.base import DataError
from snnexp.data.image_files import class_folders, image_names

N_CLASSES = 1000
TRAIN_TAR = "ILSVRC2012_img_train.tar"
VAL_TAR = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
ARCHIVES = (TRAIN_TAR, VAL_TAR, DEVKIT)


class Listing(NamedTuple):
    """Paths below the root and labels, in dataset order: class by class, file names sorted.

    Paths are an array of bytes, not a list of strings: 1.3 million Python objects would be copied
    into every worker as soon as it counts references to them.
    """

    paths: NDArray[np.bytes_]
    labels: NDArray[np.int64]


def list_part(root: Path, part: str, wnids: list[str]) -> Listing:
    """List the images of train or val."""
    paths, labels = [], []
    for k, name in enumerate(wnids):
        names = image_names(root / part / name)
        paths += [f"{part}/{name}/{image}" for image in names]
        labels += [k] * len(names)
    return Listing(np.array([p.encode() for p in paths]), np.array(labels))


def classes_of(root: Path, expected: int) -> list[str]:
    """Return the class folders, which train and val must share and number `expected`.

    Raises DataError, naming the difference, where they do not.
    """
    with os.scandir(root / "val") as entries:
        sorted_by_class = any(entry.is_dir() for entry in entries)
    if not sorted_by_class:
        raise DataError(
            f"{root / 'val'} has no class folders: they lie there as they come out "
            f"of {VAL_TAR}. Sort them into folders, or put {', '.join(ARCHIVES)} into a data_dir "
            "without train/ and val/: the devkit then tells where each belongs"
        )
    train, val = class_folders(root / "train"), class_folders(root / "val")
    only = {"train": sorted(set(train) - set(val)), "val": sorted(set(val) - set(train))}
    for part, names in only.items():
        if names:
            other = "val" if part == "train" else "train"
            few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise DataError(
                f"{root}: train has {len(train)} class folders and val {len(val)}; {few} of {part} "
                f"{'is' if len(names) == 1 else 'are'} not in {other}. Both need the same classes"
            )
    if len(train) != expected:
        raise DataError(
            f"{root} has {len(train)} classes, expected {expected}. Is the unpacking complete?"
        )
    return train


def unpack(archives: Path, folder: Path, expected: int) -> None:
    """Unpack the three archives to train/<wnid> and val/<wnid> below `folder`.

    Raises DataError, naming the archive, where one is damaged or they do not belong together.
    """
    wnids, truth = read_devkit(archives / DEVKIT, expected)
    _unpack_train(archives / TRAIN_TAR, folder / "train", wnids)
    _unpack_val(archives / VAL_TAR, folder / "val", [wnids[k] for k in truth])


def read_devkit(path: Path, expected: int) -> tuple[dict[int, str], list[int]]:
    """Return the wnid of each class id, and the class id of each validation image in order."""
    try:
        with tarfile.open(path) as tar:
            names = {Path(m.name).name: m for m in tar.getmembers() if m.isfile()}
            meta = loadmat(_member(tar, names["meta.mat"]), squeeze_me=True)["synsets"]
            truth = _member(tar, names["ILSVRC2012_validation_ground_truth.txt"]).read().split()
    except (OSError, tarfile.TarError, KeyError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no readable devkit: {error!r}. Fetch it again") from error
    leaves = meta[meta["num_children"] == 0]
    wnids = {int(k): str(name) for k, name in zip(leaves["ILSVRC2012_ID"], leaves["WNID"])}  # noqa: B905
    # they become folders: a name such as ../x would lie elsewhere
    strange = [name for name in wnids.values() if not re.fullmatch(r"\w+", name)]
    if strange:
        raise DataError(f"{path} names a class {strange[0]!r}; expected such as n01440764")
    if len(wnids) != expected:
        raise DataError(f"{path} names {len(wnids)} classes, expected {expected}")
    ids = [int(k) for k in truth]
    if not set(ids) <= set(wnids):
        raise DataError(
            f"{path}: the ground truth holds ids that meta.mat does not name as classes"
        )
    return wnids, ids


def _unpack_train(path: Path, folder: Path, wnids: dict[int, str]) -> None:
    found = []
    try:
        with tarfile.open(path) as tar:
            for member in track(tar, f"unpacking {path.name}", total=len(wnids)):
                name = Path(member.name).stem
                if name not in wnids.values():
                    raise DataError(f"{path} holds {member.name!r}, no class of the devkit")
                with tarfile.open(fileobj=_member(tar, member)) as inner:
                    inner.extractall(folder / name, filter="data")
                found.append(name)
    except tarfile.TarError as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from error
    differing = sorted(set(found) ^ set(wnids.values()))
    if differing:
        raise DataError(
            f"{path} and the devkit disagree on {len(differing)} classes, e.g. {differing[0]}"
        )


def _unpack_val(path: Path, folder: Path, wnids: list[str]) -> None:
    for name in set(wnids):
        (folder / name).mkdir(parents=True)
    seen = 0
    try:
        with tarfile.open(path) as tar:
            for member in track(tar, f"unpacking {path.name}", total=len(wnids)):
                # ILSVRC2012_val_00000001.JPEG stands in line 1 of the ground truth
                number = int(Path(member.name).stem.rsplit("_", 1)[1])
                target = folder / wnids[number - 1] / f"ILSVRC2012_val_{number:08d}.JPEG"
                target.write_bytes(_member(tar, member).read())
                seen += 1
    except (tarfile.TarError, IndexError, ValueError) as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from error
    if seen != len(wnids):
        raise DataError(f"{path} holds {seen} images, the devkit tells the classes of {len(wnids)}")


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.TarError(f"{member.name} is no file")
    return BytesIO(file.read()) if member.name.endswith(".mat") else file
