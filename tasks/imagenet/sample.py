"""Sample data for imagenet: rendered figures as JPEG files in train/ and val/ folders.

Ten classes, five figures either plain or striped, 50 training and 12 validation pictures a class,
of several sizes; as in the real set a few files are greyscale or CMYK. Folder names look like
WordNet ids, but are none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from snnexp.data.rendered import CLASSES, render

SEED = 5
COUNTS = {"train": 50, "val": 12}
SIDES = (72, 96, 120)
#: one picture in so many is stored in that mode
ODD_MODES = {"L": 16, "CMYK": 24}


def wnid(label: int) -> str:
    """Return the folder of a class."""
    return f"n9{label:07d}"


def make_sample(folder: Path) -> None:
    """Write train/<class>/*.JPEG and val/<class>/*.JPEG below `folder`."""
    for code, (part, count) in enumerate(COUNTS.items()):
        for label in range(len(CLASSES)):
            own = folder / part / wnid(label)
            own.mkdir(parents=True)
            for n in range(count):
                rng = np.random.default_rng([SEED, code, label, n])
                height, width = (int(side) for side in rng.choice(SIDES, 2))
                image = Image.fromarray(render(rng, label, height, width))
                for mode, every in ODD_MODES.items():
                    if n % every == every - 1:
                        image = image.convert(mode)
                image.save(own / f"{wnid(label)}_{n}.JPEG", quality=90)
