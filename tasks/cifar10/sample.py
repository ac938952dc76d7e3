"""Sample data for cifar10: rendered figures in the layout of CIFAR-10.

Ten classes, five figures either plain or striped, 200 training and 50 test pictures a class. No
colour, place or single texture tells the class (snnexp.data.rendered).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnexp.data.rendered import CLASS_NAMES, CLASSES, render
from tasks.cifar10.layout import FOLDER, META, TEST, TRAIN, write_batch, write_names

SEED = 3
IN_TRAIN, IN_TEST = 400, 500  # pictures of one batch file


def pictures(first: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Render pictures number first, first + 1, ...: [N, 3, 32, 32] and their classes."""
    numbers = range(first, first + count)
    labels = np.array([n % len(CLASSES) for n in numbers])
    drawn = [
        render(np.random.default_rng([SEED, n]), int(k), 32, 32)
        for n, k in zip(numbers, labels, strict=True)
    ]
    return np.stack(drawn).transpose(0, 3, 1, 2), labels


def make_sample(folder: Path) -> None:
    """Write the six batch files and batches.meta below `folder`."""
    (folder / FOLDER).mkdir()
    for k, name in enumerate(TRAIN):
        write_batch(folder / FOLDER / name, *pictures(k * IN_TRAIN, IN_TRAIN))
    write_batch(folder / FOLDER / TEST[0], *pictures(len(TRAIN) * IN_TRAIN, IN_TEST))
    write_names(folder / FOLDER / META, CLASS_NAMES)
