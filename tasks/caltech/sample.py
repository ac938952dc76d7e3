"""Sample data for caltech: drawn faces and motorbikes in the folders of Caltech-101.

400 pictures of each, JPEG, of several sizes. Faces come as in the real set, several in a row of one
person (same features, other ground, place and light), motorbikes one of a kind. Both stand light on
dark or dark on light, so that no single pixel tells them apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from snnexp.data.rendered import Plane, cloud, cover, finish, grid, paint

SEED = 4
FOLDER = "101_ObjectCategories"
COUNT, SHOTS = 400, 8
HEIGHTS = (64, 72, 80)


def ellipse(x: Plane, y: Plane, width: float, height: float) -> Plane:
    """Return about the distance from an ellipse."""
    return (np.hypot(x / width, y / height) - 1) * min(width, height)


def bar(x: Plane, y: Plane, start: tuple[float, float], end: tuple[float, float]) -> Plane:
    """Return the distance from a rod between two points."""
    (x0, y0), (x1, y1) = start, end
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
    along = np.clip(along, 0, 1)
    return np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) - 0.07


def face(person: np.random.Generator, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the distances from a head and from its eyes, nose and mouth."""
    head = ellipse(x, y, person.uniform(0.62, 0.8), person.uniform(0.85, 0.95))
    eyes, level = person.uniform(0.24, 0.34), person.uniform(-0.35, -0.15)
    eye = np.hypot((np.abs(x) - eyes) / 1.5, y - level) - person.uniform(0.07, 0.11)
    mouth = ellipse(x, y - person.uniform(0.4, 0.5), person.uniform(0.2, 0.35), 0.07)
    nose = bar(x, y, (0.0, level + 0.1), (person.uniform(-0.08, 0.08), 0.15))
    return head, np.minimum(np.minimum(eye, mouth), nose + 0.03)


def motorbike(model: np.random.Generator, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the distances from tyres, frame and tank, and from the hubs."""
    apart, radius = model.uniform(0.72, 0.85), model.uniform(0.34, 0.42)
    wheel = np.hypot(np.abs(x) - apart, y - 0.4)
    tyre = np.abs(wheel - radius) - 0.08
    fork = bar(x, y, (apart, 0.4), (0.45, model.uniform(-0.5, -0.35)))
    beam = bar(x, y, (-apart, 0.4), (0.5, -0.15))
    tank = ellipse(x - 0.1, y + 0.1, model.uniform(0.35, 0.45), model.uniform(0.16, 0.22))
    seat = ellipse(x + 0.5, y + 0.02, model.uniform(0.3, 0.4), 0.1)
    body = np.minimum(np.minimum(tyre, fork), np.minimum(np.minimum(beam, tank), seat))
    return body, wheel - 0.12


def picture(kind: str, number: int) -> NDArray[np.uint8]:
    """Draw picture `number` (from 0) of one kind: [H, W, 3]."""
    code = ("Faces", "Motorbikes").index(kind)
    same = number // SHOTS if kind == "Faces" else number
    thing = np.random.default_rng([SEED, code, same])
    scene = np.random.default_rng([SEED, code, number, 1])
    height = int(scene.choice(HEIGHTS))
    width = height * 3 // 2
    x, y = grid(height, width)
    size = scene.uniform(0.6, 0.8)
    u, v = (x - scene.uniform(-0.5, 0.5)) / size, (y - scene.uniform(-0.15, 0.15)) / size
    body, detail = (face if kind == "Faces" else motorbike)(thing, u, v)
    lift = 0.35 if scene.random() < 0.5 else -0.35
    drawn = 0.5 - lift / 2 + 0.3 * (paint(scene, cloud(scene, x, y)) - 0.5)
    for distance, shade in ((body, lift), (detail, -lift)):
        inside = cover(distance, size, height)[..., None]
        coat = 0.5 + shade / 2 + thing.uniform(-0.1, 0.1, 3)
        drawn = drawn * (1 - inside) + coat * inside
    return finish(scene, drawn)


def make_sample(folder: Path) -> None:
    """Write 101_ObjectCategories/{Faces,Motorbikes}/image_NNNN.jpg below `folder`."""
    for kind in ("Faces", "Motorbikes"):
        (folder / FOLDER / kind).mkdir(parents=True)
        for n in range(COUNT):
            path = folder / FOLDER / kind / f"image_{n + 1:04d}.jpg"
            Image.fromarray(picture(kind, n)).save(path, quality=90)
