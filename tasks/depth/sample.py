"""Sample data for depth: three flights of a simulated stereo pair, in MVSEC's layout.

Each flight has its own hall (tasks.depth.scene). Two event cameras of 64 x 48 pixels, 0.4 m apart,
look across the direction of flight through a slightly distorting lens. Depth comes at about
20 Hz with holes, as from a lidar: none at the top of the view, random patches, and none at all in
the first maps. Of the official keys the sample writes davis/{left,right}/events, and
depth_image_rect, depth_image_raw with their times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.ndimage import gaussian_filter

from snnexp.data.event_camera import EventCamera
from snnexp.data.events import Events, Sensor
from tasks.depth.layout import SCENE, SIDES, map_path
from tasks.depth.scene import Hall, cast, random_hall, rotations

SEED = 11
SENSOR = Sensor(48, 64)
FOCAL, BASELINE = 37.0, 0.4  # pixels, metres
SECONDS, DEPTH_HZ = 20, 20
FILM_HZ = 100
SPEED = 1.8  # metres a second
SIGHT = 7.0
FARTHEST = 6.3  # of the lidar, metres
BLIND_MAPS = 3  # at the start
EPOCH = 1_504_645_000.0


def make_sample(folder: Path) -> None:
    """Write three flights and the calibration to `folder`."""
    calib = folder / f"{SCENE}_calib"
    calib.mkdir()
    rays = {"rect": _rays(*_grid())}
    for side, bend in zip(SIDES, (0.018, 0.022), strict=True):
        x_map, y_map = _maps(bend)
        rays[side] = _rays(x_map, y_map)
        for axis, values in (("x", x_map), ("y", y_map)):
            np.savetxt(map_path(calib, side, axis), values, fmt="%.6f")
    lines = []
    for camera, shift in (("cam0", 0.0), ("cam1", -FOCAL * BASELINE)):
        rows = [
            [FOCAL, 0.0, (SENSOR.width - 1) / 2, shift],
            [0.0, FOCAL, (SENSOR.height - 1) / 2, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ]
        lines += [f"{camera}:", "  projection_matrix:", *(f"  - {row}" for row in rows)]
    (calib / f"camchain-imucam-{SCENE}.yaml").write_text("\n".join(lines) + "\n")
    with Progress() as progress:
        bar = progress.add_task("sample flights", total=3 * len(SIDES) * SECONDS)
        tick = lambda: progress.advance(bar)  # noqa: E731 - one line for two callers
        jobs = [joblib.delayed(_fly)(folder, number, rays, tick) for number in (1, 2, 3)]
        joblib.Parallel(n_jobs=-1, prefer="threads")(jobs)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[: SENSOR.height, : SENSOR.width].astype(np.float64)
    return x, y


def _maps(bend: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where raw pixels lie in the rectified view, for a barrel-shaped lens."""
    x, y = _grid()
    cx, cy = (SENSOR.width - 1) / 2, (SENSOR.height - 1) / 2
    stretch = 1 + bend * ((x - cx) ** 2 + (y - cy) ** 2) / cx**2
    return cx + (x - cx) * stretch, cy + (y - cy) * stretch


def _rays(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x/z and y/z of rectified positions."""
    centre = (SENSOR.width - 1) / 2, (SENSOR.height - 1) / 2
    return np.stack([(x - centre[0]) / FOCAL, (y - centre[1]) / FOCAL], axis=-1)


@dataclass(frozen=True)
class _Path:
    """A flight: along x at changing speed, swaying in y and z, turning a little."""

    phase: NDArray[np.float64]

    def at(self, t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return places [M, 3] and rotations [M, 3, 3] of the left camera at times in seconds."""
        p = self.phase

        def swing(size: float, hz: float, k: int) -> NDArray[np.float64]:
            return size * np.sin(2 * np.pi * hz * t + p[k])

        x = SPEED * t + swing(0.5, 0.15, 0)
        place = np.stack([x, swing(0.25, 0.23, 1), swing(0.5, 0.11, 2) - 0.2], axis=1)
        return place, rotations(swing(0.08, 0.19, 3), swing(0.05, 0.31, 4))


def _fly(folder: Path, number: int, rays: dict[str, Any], tick: Any) -> None:
    """Render one flight, and write its two files."""
    rng = np.random.default_rng([SEED, number])
    hall = random_hall(rng, SPEED * SECONDS)
    path = _Path(rng.uniform(0, 2 * np.pi, 5))
    with h5py.File(folder / f"{SCENE}{number}_data.hdf5", "w") as file:
        for side in SIDES:
            events = _film(
                hall, path, rays[side], side, np.random.default_rng(rng.integers(2**32)), tick
            )
            table = np.empty((len(events), 4))
            table[:, 0], table[:, 1] = events.x, events.y
            table[:, 2], table[:, 3] = EPOCH + events.t * 1e-6, 2.0 * events.p - 1
            file.create_dataset(f"davis/{side}/events", data=table, chunks=(4096, 4))
    steps = np.arange(1, SECONDS * DEPTH_HZ) / DEPTH_HZ
    stamps = steps + rng.uniform(-0.002, 0.002, len(steps))
    with h5py.File(folder / f"{SCENE}{number}_gt.hdf5", "w") as file:
        for side in SIDES:
            for kind in ("rect", "raw"):
                view = rays["rect"] if kind == "rect" else rays[side]
                depth = _depth(hall, path, view, side, stamps, rng)
                file[f"davis/{side}/depth_image_{kind}"] = depth
                file[f"davis/{side}/depth_image_{kind}_ts"] = EPOCH + stamps


def _view(path: _Path, side: str, t: NDArray[np.float64]) -> tuple[Any, Any]:
    places, turns = path.at(t)
    if side == "right":
        places = places + BASELINE * turns[:, :, 0]
    return places, turns


def _film(
    hall: Hall, path: _Path, rays: Any, side: str, rng: np.random.Generator, tick: Any
) -> Events:
    """Return what an event camera sees of the flight, filmed second by second."""
    camera = EventCamera(SENSOR, rng, threshold=0.2, mismatch=0.08, noise_hz=1.0, refractory_us=500)
    parts = []
    for second in range(SECONDS):
        frames = np.arange(second * FILM_HZ, (second + 1) * FILM_HZ + 1)
        places, turns = _view(path, side, frames / FILM_HZ)
        light, _ = cast(hall.boxes, hall.tiles, places, turns, rays, SIGHT)
        parts.append(camera.expose(light, frames.astype(np.int64) * (1_000_000 // FILM_HZ)))
        tick()
    return Events.concatenate(parts)


def _depth(
    hall: Hall, path: _Path, rays: Any, side: str, t: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return depth maps with the holes of a lidar as NaN."""
    _, depth = cast(hall.boxes, hall.tiles, *_view(path, side, t), rays, SIGHT)
    patches = gaussian_filter(rng.standard_normal(depth.shape), (1.0, 2.0, 2.0))
    hole = (depth > FARTHEST) | (patches > 1.3 * patches.std())
    hole[:, : SENSOR.height // 10] = True
    hole[:BLIND_MAPS] = True
    depth[hole] = np.nan
    return depth
