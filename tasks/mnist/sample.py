"""Sample data for mnist: scikit-learn's handwritten digits in the layout of MNIST.

1,797 digits of 8 x 8 pixels and 17 grey levels, enlarged to 20 x 20 in a frame of four black
pixels, as MNIST's digits stand. scikit-learn does not tell the writers; the test set is the last
fifth in the order of the file, so that it is mostly of hands that the training set has not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from snnexp.data.idx import STEMS, write_idx

N_TEST = 360
BOX, FRAME = 20, 4


def enlarge(digit: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Turn 8 x 8 values of 0..16 into 28 x 28 bytes, bicubic."""
    small = Image.fromarray((digit * (255 / 16)).astype(np.float32))
    large = np.asarray(small.resize((BOX, BOX), Image.Resampling.BICUBIC))
    return np.pad(large.round().clip(0, 255).astype(np.uint8), FRAME)


def make_sample(folder: Path) -> None:
    """Write the four gzipped IDX files into `folder`."""
    digits = load_digits()
    images = np.stack([enlarge(d) for d in digits.images])
    labels = digits.target.astype(np.uint8)
    for split, own in (("train", slice(0, -N_TEST)), ("test", slice(-N_TEST, None))):
        write_idx(folder / f"{STEMS[split, 'images']}.gz", images[own])
        write_idx(folder / f"{STEMS[split, 'labels']}.gz", labels[own])
