"""The files of CIFAR10-DVS, and how the two papers split them.

`aedat`, the official files: <class>/cifar10_<class>_<i>.aedat, AEDAT 2.0, i from 0 to 999.
`aedat4`, the copy that Tonic fetches: <class>/*.aedat4, converted.

There is no official split. Of each class the first 90 % train and the rest tests, in the order of

    sew     the file names as text, as a folder data set lists them (SEW ResNet code)
    plif    the numbers in the names, so that of 1,000 files those from 900 on test (PLIF code)

Source: Li et al. 2017, Frontiers in Neuroscience 11, 309.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from snnexp.data.base import DataError
from snnexp.data.event_files import inner
from snnexp.data.event_frames import Cut, Recording

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def recordings(
    root: Path, suffix: str, split: Literal["sew", "plif"], classes: tuple[str, ...]
) -> list[Recording]:
    """List the recordings of each class in the order of the split rule, with their part in it."""
    listed = []
    for label, name in enumerate(classes):
        files = sorted(inner(root / name).glob(f"*{suffix}"))
        if not files:
            raise DataError(f"{root / name} holds no {suffix} files; see task.source")
        if split == "plif":
            files.sort(key=_number)
        kept = len(files) * 9 // 10
        for i, path in enumerate(files):
            role: Literal["train", "test"] = "train" if i < kept else "test"
            listed.append(Recording(path, role, path.stem, (Cut(label),)))
    return listed


def _number(path: Path) -> int:
    found = re.search(r"(\d+)$", path.stem)
    if found is None:
        raise DataError(f"{path}: task.split=plif needs names that end in a number, or use sew")
    return int(found[1])


def classes_present(root: Path) -> tuple[str, ...]:
    """Return the classes that have a folder, in the official order."""
    return tuple(name for name in CLASSES if (root / name).is_dir())
