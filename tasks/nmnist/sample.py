"""Sample data for nmnist: scikit-learn's handwritten digits under three simulated saccades.

1,797 digits of 43 writers, 8 x 8 pixels, are enlarged, slanted, scaled and shifted at random, and
moved before a simulated camera along the triangle of N-MNIST, 100 ms a side. A digit is in one
split only; scikit-learn does not tell the writers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits

from snnexp.data.event_camera import EventCamera, pan
from snnexp.data.events import Events, Sensor
from tasks.nmnist.recording import write_bin

SEED = 1
N_TEST = 360
SENSOR = Sensor(34, 34)
SIDE = 44  # of the picture before the camera
SACCADE_US = 100_000
STEP_US = 2_500
CORNERS = np.array([[-4.0, -4.0], [0.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])  # (dx, dy) in pixels


def make_sample(folder: Path) -> None:
    """Write Train/<digit>/NNNNN.bin and Test/<digit>/NNNNN.bin below `folder`."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    for split, chosen in (("Test", order[:N_TEST]), ("Train", order[N_TEST:])):
        for k in range(10):
            (folder / split / str(k)).mkdir(parents=True)
        for number, i in enumerate(track(chosen, f"sample digits: {split}"), start=1):
            rng = np.random.default_rng([SEED, int(i)])
            events = _saccades(_picture(digits.images[i] / 16, rng), rng)
            write_bin(folder / split / str(digits.target[i]) / f"{number:05d}.bin", events)


def _picture(digit: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the log intensity of one digit, distorted, on a dark screen."""
    angle, slant = np.deg2rad(rng.uniform(-15, 15)), rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pixel = 8 / (20 * rng.uniform(0.75, 1.15))  # digit pixels in a screen pixel
    matrix = pixel * turn @ np.array([[1.0, 0.0], [slant, 1.0]])
    centre = np.full(2, (SIDE - 1) / 2) + rng.uniform(-2.5, 2.5, 2)
    image = affine_transform(digit, matrix, 3.5 - matrix @ centre, (SIDE, SIDE), order=1)
    return np.log(0.1 + rng.uniform(0.4, 1.0) * np.clip(image, 0, 1)).astype(np.float32)


def _saccades(picture: NDArray[np.float32], rng: np.random.Generator) -> Events:
    times = np.arange(0, 3 * SACCADE_US + 1, STEP_US, dtype=np.int64)
    legs = np.arange(4) * SACCADE_US
    dx, dy = (np.interp(times, legs, CORNERS[:, i]) for i in (0, 1))
    camera = EventCamera(
        SENSOR, rng, threshold=0.35, mismatch=0.1, noise_hz=1.0, refractory_us=1_000
    )
    return camera.expose(pan(picture, dx, dy, *SENSOR), times)
