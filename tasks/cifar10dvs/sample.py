"""Sample data for cifar10dvs: drawn things of five of its classes, moved before a camera.

Each recording is one drawing: built, placed, turned, mirrored and coloured at random over a
cluttered background, moved once around a closed loop as in CIFAR10-DVS, written as AEDAT 2.0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.progress import track
from scipy.ndimage import gaussian_filter

from snnexp.data.aedat import write_aedat2
from snnexp.data.event_camera import EventCamera, pan
from snnexp.data.events import Events, Sensor

SEED = 3
PER_CLASS = 200
SENSOR = Sensor(128, 128)
SIDE = 160  # of the picture before the camera
FINE = 2  # pixels of a drawing in a pixel of the picture
LOOP_US, STEP_US, LOOP = 300_000, 4_000, 10.0

Rng = np.random.Generator
#: corners in units of half the thing's size, x right, y down, and a shade within the thing
Shape = tuple[list[tuple[float, float]], float]


def _ellipse(x: float, y: float, a: float, b: float) -> list[tuple[float, float]]:
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    return [(x + a * np.cos(w), y + b * np.sin(w)) for w in angle]


def _box(left: float, top: float, right: float, low: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, low), (left, low)]


def _airplane(r: Rng) -> list[Shape]:
    w, sweep, span, tail = r.uniform((0.08, 0.1, 0.6, 0.2), (0.15, 0.5, 0.95, 0.4))
    at, chord = r.uniform((-0.1, 0.2), (0.2, 0.35))
    wings = [
        [(at, 0.0), (at - sweep, s * span), (at - sweep - 0.6 * chord, s * span), (at - chord, 0.0)]
        for s in (-1, 1)
    ]
    fins = [[(-0.65, 0), (-0.9, s * tail), (-1, s * tail), (-0.95, 0)] for s in (-1, 1)]
    return [*((wing, 0.8) for wing in wings), *((f, 0.8) for f in fins), (_ellipse(0, 0, 1, w), 1)]


def _automobile(r: Rng) -> list[Shape]:
    roof, left, right, wheel = r.uniform((-0.55, -0.75, 0.3, 0.16), (-0.35, -0.5, 0.6, 0.24))
    body = _box(-1, -0.1, 1, 0.35)
    cabin = [(left, -0.1), (left + 0.2, roof), (right - 0.2, roof), (right, -0.1)]
    pane = [(left + 0.15, -0.12), (left + 0.27, roof + 0.07), (-0.03, roof + 0.07), (-0.03, -0.12)]
    wheels = [_ellipse(x, 0.35, wheel, wheel) for x in r.uniform((-0.7, 0.45), (-0.5, 0.7))]
    return [(body, 1), (cabin, 0.9), (pane, 0.3), *((w, 0.1) for w in wheels)]


def _bird(r: Rng) -> list[Shape]:
    up, back, plump = r.uniform((-0.9, -0.5, 0.2), (-0.3, 0.1, 0.35))
    head = _ellipse(0.62, -0.28, 0.2, 0.18)
    beak = [(0.78, -0.33), (1.0, -0.25), (0.78, -0.2)]
    wing = [(0.25, -0.1), (back, up), (back - 0.35, up + 0.25), (-0.3, 0.05)]
    tail = [(-0.5, -0.05), (-1, -0.15), (-0.95, 0.2), (-0.5, 0.12)]
    legs = [_box(x, 0.2, x + 0.05, 0.6) for x in (0.0, 0.18)]
    body = _ellipse(0.05, 0, 0.65, plump)
    return [(tail, 0.8), (body, 1), (head, 1), (beak, 0.3), (wing, 0.6), *((g, 0.4) for g in legs)]


def _ship(r: Rng) -> list[Shape]:
    deck, bow, house, mast = r.uniform((0.0, 0.7, 0.2, -1.0), (0.15, 0.9, 0.5, -0.6))
    hull = [(-1, deck), (1, deck), (bow, 0.5), (-0.85, 0.5)]
    left = r.uniform(-0.8, -0.2)
    bridge = _box(left, deck - house, left + 0.5, deck)
    funnel = _box(left + 0.1, deck - house - 0.25, left + 0.25, deck - house)
    pole = _box(left + 0.75, mast, left + 0.79, deck)
    sail = [(left + 0.8, mast + 0.1), (left + 1.2, deck - 0.1), (left + 0.8, deck - 0.1)]
    shapes: list[Shape] = [(hull, 1), (bridge, 0.7), (funnel, 0.4), (pole, 0.5)]
    return [*shapes, (sail, 0.8)] if r.random() < 0.6 else shapes


def _truck(r: Rng) -> list[Shape]:
    top, cab, nose, wheel = r.uniform((-0.75, 0.45, -0.35, 0.13), (-0.5, 0.6, -0.1, 0.19))
    load = _box(-1, top, cab - 0.05, 0.3)
    front = [(cab, nose), (cab + 0.25, nose), (1, nose + 0.3), (1, 0.3), (cab, 0.3)]
    pane = [(cab + 0.1, nose + 0.05), (cab + 0.22, nose + 0.05), (0.92, nose + 0.3)]
    places = [-0.75, -0.45, cab + 0.25] if r.random() < 0.6 else [-0.6, cab + 0.25]
    wheels = [_ellipse(x, 0.33, wheel, wheel) for x in places]
    return [(load, 1), (front, 0.7), (pane, 0.3), *((w, 0.1) for w in wheels)]


THINGS: dict[str, Callable[[Rng], list[Shape]]] = {
    "airplane": _airplane,
    "automobile": _automobile,
    "bird": _bird,
    "ship": _ship,
    "truck": _truck,
}


def make_sample(folder: Path) -> None:
    """Write <class>/cifar10_<class>_<i>.aedat below `folder`."""
    jobs = [(k, name, i) for k, name in enumerate(THINGS) for i in range(PER_CLASS)]
    for name in THINGS:
        (folder / name).mkdir()
    parallel = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")
    done = parallel(joblib.delayed(_record)(folder, *job) for job in jobs)
    for _ in track(done, "sample things", total=len(jobs)):
        pass


def _record(folder: Path, k: int, name: str, i: int) -> None:
    rng = np.random.default_rng([SEED, k, i])
    picture = _picture(THINGS[name](rng), rng)
    times = np.arange(0, LOOP_US + 1, STEP_US, dtype=np.int64)
    corner = np.linspace(0, LOOP_US, 5)
    dx = np.interp(times, corner, [0, LOOP, 0, -LOOP, 0])
    dy = np.interp(times, corner, [-LOOP, 0, LOOP, 0, -LOOP])
    camera = EventCamera(
        SENSOR, rng, threshold=0.4, mismatch=0.1, noise_hz=0.5, refractory_us=1_000
    )
    seen = camera.expose(pan(picture, dx, dy, *SENSOR), times)
    # jAER's x and y, such that frame_format.orientation=anti_transpose shows things upright
    raw = Events(SENSOR.height - 1 - seen.y, SENSOR.width - 1 - seen.x, seen.t, seen.p)
    write_aedat2(folder / name / f"cifar10_{name}_{i}.aedat", raw)


def _picture(shapes: list[Shape], rng: Rng) -> NDArray[np.float32]:
    """Return log intensity: the thing, lighter or darker than its background, and some clutter."""
    side = SIDE * FINE
    image = Image.new("F", (side, side), 0.0)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 8)):
        scrap = rng.uniform(0, side, 2) + rng.uniform(-0.15, 0.15, (4, 2)) * side
        draw.polygon([tuple(c) for c in scrap], fill=rng.uniform(-0.5, 0.5))
    size = rng.uniform(0.22, 0.34) * side
    angle = np.deg2rad(rng.uniform(-20, 20))
    mirror = rng.choice([-1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = side / 2 + rng.uniform(-0.09, 0.09, 2) * side
    light = rng.choice([-1, 1]) * rng.uniform(0.7, 1.2)
    for corners, shade in shapes:
        at = (size * np.array(corners) * (mirror, 1)) @ turn.T + place
        draw.polygon([tuple(c) for c in at], fill=light * shade)
    fine = np.asarray(image, np.float32).reshape(SIDE, FINE, SIDE, FINE).mean((1, 3))
    texture = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 2)
    return (fine + 0.8 * texture).astype(np.float32)
