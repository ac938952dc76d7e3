"""Tiny recordings in MVSEC's layout, with events and depth that a test can recompute."""

from pathlib import Path

import h5py
import numpy as np

HEIGHT, WIDTH = 6, 8
START = 1000.0  # seconds


def write_flight(
    root: Path, number: int, maps: int = 40, events: int = 4000, seed: int = 0
) -> None:
    """Random events over the whole recording; depth map m is m + 1 metres, right one less 0.5."""
    rng = np.random.default_rng(number)
    stamps = START + 0.05 * np.arange(1, maps + 1) + rng.uniform(-0.004, 0.004, maps)
    with h5py.File(root / f"indoor_flying{number}_data.hdf5", "w") as file:
        for side in ("left", "right"):
            t = np.sort(rng.uniform(START - 0.1, stamps[-1] + 0.1, events))
            x, y = rng.integers(0, WIDTH, events), rng.integers(0, HEIGHT, events)
            p = rng.choice([-1.0, 1.0], events)
            table = np.stack([x, y, t, p], axis=1)
            file.create_dataset(f"davis/{side}/events", data=table, chunks=(512, 4))
    with h5py.File(root / f"indoor_flying{number}_gt.hdf5", "w") as file:
        for side, less in (("left", 0.0), ("right", 0.5)):
            depth = np.full((maps, HEIGHT, WIDTH), 1.0, np.float32)
            depth += np.arange(maps, dtype=np.float32)[:, None, None] - less
            depth += np.linspace(0, 0.2, WIDTH, dtype=np.float32)
            depth[:, 0] = np.nan
            file[f"davis/{side}/depth_image_rect"] = depth
            file[f"davis/{side}/depth_image_rect_ts"] = stamps


def write_maps(root: Path, shift: float = 0.0, height: int = HEIGHT, width: int = WIDTH) -> None:
    """Rectification maps that shift x."""
    y, x = np.mgrid[:height, :width].astype(float)
    for side in ("left", "right"):
        np.savetxt(root / f"indoor_flying_{side}_x_map.txt", x + shift)
        np.savetxt(root / f"indoor_flying_{side}_y_map.txt", y)


def write_all(root: Path, maps: int = 40, shift: float = 0.0) -> Path:
    """Three flights and their maps."""
    root.mkdir(parents=True, exist_ok=True)
    for number in (1, 2, 3):
        write_flight(root, number, maps)
    write_maps(root, shift)
    return root


def edit(root: Path, number: int, part: str):
    """Open a file of a flight to change it."""
    return h5py.File(root / f"indoor_flying{number}_{part}.hdf5", "r+")
