"""A hall of textured boxes, seen by ray casting from a camera that flies past them.

World and camera axes: x right, y down, z ahead; metres.

Letters: M images, K boxes, H W image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]
#: texels of a tile, and how many of them make a metre
TILE, TEXELS = 64, 7.0
#: what is closer than this to the camera, in metres, is not seen
NEAREST = 0.05


@dataclass(frozen=True)
class Hall:
    """Boxes [K, 6]: lower and upper corner; a texture tile each [K, TILE, TILE], log intensity."""

    boxes: Array
    tiles: NDArray[np.float32]


def random_hall(rng: np.random.Generator, length: float) -> Hall:
    """Draw a hall along x: floor, ceiling, wall panels at changing depth, boxes before them."""
    left, right = -6.0, length + 6.0
    boxes = [(left, 1.2, -2.0, right, 1.4, 12.0), (left, -1.6, -2.0, right, -1.4, 12.0)]
    x = left
    while x < right:
        wide, z = rng.uniform(1.5, 4.0), rng.uniform(1.6, 6.2)
        boxes.append((x, -1.6, z, x + wide, 1.4, 9.0))
        x += wide
    x = left
    while x < right:
        x += rng.uniform(0.6, 2.0)
        wide, deep, tall = rng.uniform((0.5, 0.3, 0.5), (1.4, 0.9, 1.8))
        z = rng.uniform(1.1, 4.0)
        floating = rng.uniform(-1.4, 0.2) if rng.random() < 0.4 else 1.2 - tall
        boxes.append((x, floating, z, x + wide, floating + tall, z + deep))
    k = len(boxes)
    noise = rng.standard_normal((k, TILE, TILE))
    # spots of a quarter metre: two pixels of the sample's camera on the farthest walls
    tiles = gaussian_filter(noise, (0, 1.6, 1.6), mode="wrap")
    tiles *= 0.6 / tiles.std((1, 2), keepdims=True)
    tiles += rng.uniform(-0.6, 0.6, (k, 1, 1))
    return Hall(np.array(boxes), tiles.astype(np.float32))


@njit(cache=True, nogil=True)
def _enter(box, origin, inverse):
    """Return where a ray enters a box (infinity: it does not), and across which axis.

    `inverse` is one over each component of the ray's direction.
    """
    near, far, axis = -np.inf, np.inf, 0
    for a in range(3):
        one, two = (box[a] - origin[a]) * inverse[a], (box[a + 3] - origin[a]) * inverse[a]
        first = min(one, two)
        if first > near:
            near, axis = first, a
        far = min(far, max(one, two))
    if near > far or near <= NEAREST:
        return np.inf, 0
    return near, axis


@njit(cache=True, nogil=True)
def _texel(tile, u, v):
    """Return the tile's value at (u, v) metres, bilinear, repeating."""
    u, v = u * TEXELS, v * TEXELS
    u0, v0 = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - u0, v - v0
    u0, v0, u1, v1 = u0 % TILE, v0 % TILE, (u0 + 1) % TILE, (v0 + 1) % TILE
    top = tile[v0, u0] * (1 - fu) + tile[v0, u1] * fu
    low = tile[v1, u0] * (1 - fu) + tile[v1, u1] * fu
    return top * (1 - fv) + low * fv


@njit(cache=True, nogil=True)
def cast(boxes: Any, tiles: Any, places: Any, turns: Any, rays: Any, sight: float) -> Any:
    """Return log intensity and depth [M, H, W] seen from `places` [M, 3], `turns` [M, 3, 3].

    `rays` [H, W, 2] are x/z and y/z of each pixel in the camera; depth is along the camera's z.
    Boxes further than `sight` from the camera along x are passed over.
    """
    count, (height, width) = places.shape[0], rays.shape[:2]
    light = np.zeros((count, height, width), np.float32)
    depth = np.full((count, height, width), np.inf, np.float32)
    direction, inverse = np.empty(3), np.empty(3)
    for m in range(count):
        origin, turn = places[m], turns[m]
        seen = np.abs((boxes[:, 0] + boxes[:, 3]) / 2 - origin[0])
        near_boxes = np.flatnonzero(seen - (boxes[:, 3] - boxes[:, 0]) / 2 < sight)
        for y in range(height):
            for x in range(width):
                u, v = rays[y, x]
                for a in range(3):
                    along = turn[a, 0] * u + turn[a, 1] * v + turn[a, 2]
                    direction[a] = along
                    inverse[a] = 1 / along if abs(along) > 1e-12 else 1e12
                nearest, hit, face = np.inf, -1, 0
                for k in near_boxes:
                    t, axis = _enter(boxes[k], origin, inverse)
                    if t < nearest:
                        nearest, hit, face = t, int(k), axis
                if hit < 0:
                    continue
                px = origin[0] + nearest * direction[0]
                py = origin[1] + nearest * direction[1]
                pz = origin[2] + nearest * direction[2]
                s, t = (py, pz) if face == 0 else ((px, pz) if face == 1 else (px, py))
                light[m, y, x] = _texel(tiles[hit], s, t) - 0.25 * face
                depth[m, y, x] = nearest
    return light, depth


def rotations(yaw: Array, pitch: Array) -> Array:
    """Return camera-to-world rotations [M, 3, 3]: yaw about y after pitch about x."""
    c, s, one, zero = np.cos, np.sin, np.ones_like(yaw), np.zeros_like(yaw)
    about_y = np.array([[c(yaw), zero, s(yaw)], [zero, one, zero], [-s(yaw), zero, c(yaw)]])
    about_x = np.array([[one, zero, zero], [zero, c(pitch), -s(pitch)], [zero, s(pitch), c(pitch)]])
    return np.einsum("ijm,jkm->mik", about_y, about_x)
