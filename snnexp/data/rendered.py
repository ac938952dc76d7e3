"""Rendered pictures for sample data: textured figures on a textured ground, all drawn by a seed.

A figure is a signed distance d(x, y) in its own coordinates, negative inside, about 1 in radius.
Colour, place, size, angle and light are drawn anew for each picture and say nothing of its class.

Letters: H W space; x to the right, y down, from the picture's centre, half the height is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Plane = NDArray[np.float64]
Distance = Callable[[Plane, Plane], Plane]
Texture = Callable[[np.random.Generator, Plane, Plane], Plane]


def disc(x: Plane, y: Plane) -> Plane:
    """Return the distance from a disc."""
    return np.hypot(x, y) - 0.8


def ring(x: Plane, y: Plane) -> Plane:
    """Return the distance from a ring."""
    return np.abs(np.hypot(x, y) - 0.65) - 0.2


def square(x: Plane, y: Plane) -> Plane:
    """Return the distance from a square."""
    return np.maximum(np.abs(x), np.abs(y)) - 0.72


def triangle(x: Plane, y: Plane) -> Plane:
    """Return the distance from a triangle that points up."""
    side = np.sqrt(3) / 2 * np.abs(x) - 0.5 * y
    return np.maximum(side, y) - 0.45


def cross(x: Plane, y: Plane) -> Plane:
    """Return the distance from a cross."""
    a, b = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(a - 0.9, b - 0.26), np.maximum(b - 0.9, a - 0.26))


def stripes(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Return stripes of 0..1."""
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    wave = np.cos(angle) * x + np.sin(angle) * y
    return 0.5 + 0.5 * np.tanh(4 * np.sin(rng.uniform(16, 20) * wave + phase))


def plain(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Return a soft gradient of 0..1."""
    angle = rng.uniform(0, 2 * np.pi)
    return 0.5 + 0.2 * (np.cos(angle) * x + np.sin(angle) * y)


def cloud(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Return smooth noise of 0..1."""
    noise = gaussian_filter(rng.standard_normal(x.shape), 0.08 * len(x), mode="wrap")
    return 0.5 + 0.18 * noise / noise.std()


FIGURES: Mapping[str, Distance] = MappingProxyType(
    {"disc": disc, "ring": ring, "square": square, "triangle": triangle, "cross": cross}
)
TEXTURES: Mapping[str, Texture] = MappingProxyType({"plain": plain, "striped": stripes})
#: figure and texture of each class: neither alone tells it
CLASSES = tuple((figure, texture) for texture in TEXTURES for figure in FIGURES)
CLASS_NAMES = tuple(f"{texture} {figure}" for figure, texture in CLASSES)


def grid(height: int, width: int) -> tuple[Plane, Plane]:
    """Return x and y [H, W] of the pixel centres."""
    y = (np.arange(height) + 0.5) * 2 / height - 1
    x = ((np.arange(width) + 0.5) * 2 - width) / height
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))


def cover(distance: Plane, size: float, height: int) -> Plane:
    """Turn a distance in a figure's own units into coverage 0..1, smooth over about a pixel."""
    return np.clip(0.5 - distance * size * height / 2, 0, 1)


def paint(rng: np.random.Generator, shade: Plane) -> NDArray[np.float64]:
    """Colour a shade of 0..1 [H, W] between two drawn colours: [H, W, 3] of 0..1."""
    dark, light = rng.uniform(0, 0.5, 3), rng.uniform(0.5, 1, 3)
    return dark + np.clip(shade, 0, 1)[..., None] * (light - dark)


def finish(rng: np.random.Generator, picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Light the picture from one side, add the noise of a sensor, and round to bytes."""
    x, y = grid(*picture.shape[:2])
    light = 1 + 0.2 * plain(rng, x, y)[..., None]
    noisy = picture * light + rng.normal(0, 0.02, picture.shape)
    return (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8)


def render(rng: np.random.Generator, label: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw one picture [H, W, 3] of class `label` (CLASSES)."""
    figure, texture = CLASSES[label]
    x, y = grid(height, width)
    ground = paint(rng, cloud(rng, x, y))
    size, angle = rng.uniform(0.5, 0.8), rng.uniform(-0.4, 0.4)
    room_x, room_y = max(0.0, width / height - size), 1 - size
    u = (x - rng.uniform(-room_x, room_x)) / size
    v = (y - rng.uniform(-room_y, room_y)) / size
    turned_u = np.cos(angle) * u + np.sin(angle) * v
    turned_v = np.cos(angle) * v - np.sin(angle) * u
    inside = cover(FIGURES[figure](turned_u, turned_v), size, height)[..., None]
    coat = paint(rng, TEXTURES[texture](rng, u * 0.6, v * 0.6))
    # the figure is brighter or darker than its ground, either with the same probability
    lift = 0.25 if rng.random() < 0.5 else -0.25
    mean = ground.mean()
    coat = np.clip(coat - coat.mean() + mean + lift, 0, 1)
    return finish(rng, ground * (1 - inside) + coat * inside)
