"""Sample data for gesture: drawn people of 24 builds before a simulated event camera.

Written as IBM's own: AEDAT 3.1 recordings, label csv, trials lists; 12 label rows a recording, one
of each class and a second one of arm_roll, backwards. The last six users are the test users.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.ndimage import gaussian_filter

from snnexp.data.aedat import write_aedat31
from snnexp.data.event_camera import EventCamera
from snnexp.data.events import Events, Sensor
from tasks.gesture.arms import Move, Person, capsules, draw, random_person
from tasks.gesture.layout import COLUMNS, LISTS

SEED = 5
SENSOR = Sensor(128, 128)
USERS, TEST_USERS = 24, 6
#: name, contrast, noise in Hz a pixel
LIGHTS = (("fluorescent", 1.0, 0.2), ("lab", 0.85, 0.3), ("natural", 0.75, 0.4))
ARM_ROLL = 7
ROWS = (0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10)
GESTURE_US, PAUSE_US, STEP_US = 900_000, 50_000, 5_000


def make_sample(folder: Path) -> None:
    """Write all recordings, labels and the two lists to `folder`."""
    jobs = [(user, light) for user in range(1, USERS + 1) for light in range(len(LIGHTS))]
    parallel = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")
    names: Iterable[str] = parallel(joblib.delayed(_record)(folder, *job) for job in jobs)
    lists: dict[str, list[str]] = {"train": [], "test": []}
    described = "sample gestures"
    for (user, _), name in zip(jobs, track(names, described, total=len(jobs)), strict=True):
        lists["test" if user > USERS - TEST_USERS else "train"].append(name)
    for role, file in LISTS:
        (folder / file).write_text("\n".join(lists[role]) + "\n")


def _record(folder: Path, user: int, light: int) -> str:
    """Write one recording and its labels; return its file name."""
    name, contrast, noise_hz = LIGHTS[light]
    person = random_person(np.random.default_rng([SEED, user]))
    rng = np.random.default_rng([SEED, user, light + 1])
    background = gaussian_filter(rng.standard_normal(SENSOR), 3).astype(np.float32)
    camera = EventCamera(
        SENSOR, rng, threshold=0.3, mismatch=0.08, noise_hz=noise_hz, refractory_us=1_000
    )
    parts, lines, start = [], [",".join(COLUMNS)], 0
    for row, label in enumerate(ROWS):
        start += PAUSE_US
        times = np.arange(start, start + GESTURE_US + 1, STEP_US, dtype=np.int64)
        backwards = label == ARM_ROLL and ROWS.index(label) != row
        scene = _perform(person, label, backwards, times, rng)
        parts.append(camera.expose(draw(background, scene, contrast), times))
        lines.append(f"{label + 1},{start},{start + GESTURE_US}")
        start += GESTURE_US
    stem = f"user{user:02d}_{name}"
    write_aedat31(folder / f"{stem}.aedat", Events.concatenate(parts), source="DVS128")
    (folder / f"{stem}_labels.csv").write_text("\n".join(lines) + "\n")
    return f"{stem}.aedat"


def _perform(
    person: Person,
    label: int,
    backwards: bool,
    times: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the capsules of one performance: speed, phase, size and place are drawn anew."""
    seconds = (times - times[0]) * 1e-6
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(1.4, 2.6) * seconds
    move = Move(-phase if backwards else phase, rng.uniform(0.75, 1.2), rng)
    sway = rng.uniform(-8, 8) + np.sin(2 * np.pi * 0.4 * seconds + rng.uniform(0, 6))
    scene = capsules(person, label, move, sway)
    scene[:, :, (1, 3)] += rng.uniform(-6, 6)
    return scene
