"""A person of capsules who performs the eleven gestures, drawn as a film of log intensities.

Image coordinates: x right, y down, pixels. The person faces the camera, so that the right arm is
on the left of the image (side -1). "Clockwise" is as the camera sees it.

Letters: M images, K capsules, H W image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: torso, head, and for each arm the upper arm, the forearm and the hand
CAPSULES = 8


@dataclass(frozen=True)
class Person:
    """Build, place and clothes of one user; brightness is log intensity above the background."""

    x: float
    shoulder_y: float
    half_width: float
    upper_arm: float
    forearm: float
    thickness: float
    brightness: tuple[float, float, float, float]  # torso, head and hands, upper arm, forearm

    @property
    def reach(self) -> float:
        """Length of the stretched arm."""
        return self.upper_arm + self.forearm


@dataclass(frozen=True)
class Move:
    """How one gesture is performed: phase [M] in radians, amplitude factor, a source of chance."""

    phase: Array
    amplitude: float
    rng: np.random.Generator


def random_person(rng: np.random.Generator) -> Person:
    """Draw a user."""
    size = rng.uniform(0.85, 1.15)
    torso, skin, upper, fore = rng.uniform((0.1, 0.7, 0.4, 0.5), (0.4, 1.1, 0.9, 1.0))
    return Person(
        x=rng.uniform(58, 70),
        shoulder_y=rng.uniform(52, 62),
        half_width=size * rng.uniform(13, 17),
        upper_arm=size * rng.uniform(20, 25),
        forearm=size * rng.uniform(19, 24),
        thickness=rng.uniform(2.8, 4.2),
        brightness=(torso, skin, upper, fore),
    )


# A gesture gives the place of a hand against its shoulder; `out` points away from the body.


def _hang(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    still = np.zeros_like(m.phase)
    return still + side * 0.2 * p.reach, still + 0.9 * p.reach


def _clap(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    gap = 0.45 * p.reach * m.amplitude * (0.5 + 0.5 * np.cos(m.phase))
    return side * (gap + 2 - p.half_width), np.full_like(gap, 0.35 * p.reach)


def _wave(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    swing = 0.3 * p.reach * m.amplitude * np.sin(m.phase)
    return side * 0.4 * p.reach + swing, -0.45 * p.reach + 0.15 * np.abs(swing)


def _circle(turn: int) -> Callable[[Person, int, Move], tuple[Array, Array]]:
    def path(p: Person, side: int, m: Move) -> tuple[Array, Array]:
        r = 0.38 * p.reach * m.amplitude
        # y points down, so that a growing angle runs clockwise
        return side * 0.5 * p.reach + r * np.cos(turn * m.phase), r * np.sin(turn * m.phase)

    return path


def _roll(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    angle = m.phase + (np.pi if side > 0 else 0)
    r = 0.22 * p.reach * m.amplitude
    return side * (3 - p.half_width) + 0.5 * r * np.cos(angle), 0.4 * p.reach + r * np.sin(angle)


def _drum(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    angle = m.phase + (np.pi if side > 0 else 0)
    beat = 0.22 * p.reach * m.amplitude * np.sin(angle)
    return np.full_like(beat, -side * 0.1 * p.reach), 0.45 * p.reach + beat


def _fret(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    slide = 0.05 * p.reach * np.sin(0.5 * m.phase)
    return side * 0.55 * p.reach + slide, 0.1 * p.reach + slide


def _strum(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    beat = 0.22 * p.reach * m.amplitude * np.sin(m.phase)
    return side * (4 - p.half_width) + 0.3 * beat, 0.6 * p.reach + beat


def _wander(p: Person, side: int, m: Move) -> tuple[Array, Array]:
    speed = m.rng.uniform(0.4, 1.4, (2, 2, 1))
    start = m.rng.uniform(0, 2 * np.pi, (2, 2, 1))
    x, y = 0.3 * p.reach * m.amplitude * np.sin(speed * m.phase + start).sum(1)
    return side * 0.3 * p.reach + 0.7 * x, 0.2 * p.reach + y


#: paths of the right and the left hand, in the order of the classes
GESTURES = (
    (_clap, _clap),
    (_wave, _hang),
    (_hang, _wave),
    (_circle(1), _hang),
    (_circle(-1), _hang),
    (_hang, _circle(1)),
    (_hang, _circle(-1)),
    (_roll, _roll),
    (_drum, _drum),
    (_strum, _fret),
    (_wander, _wander),
)


def capsules(p: Person, label: int, move: Move, sway: Array) -> Array:
    """Return the person's capsules [M, K, 6]: both ends, radius, log intensity; `sway` is in x."""
    torso, skin, upper, fore = p.brightness
    scene = np.empty((len(sway), CAPSULES, 6))
    neck, hip = p.shoulder_y + 8, p.shoulder_y + 60
    x = p.x + sway
    r = p.half_width - 1
    _put(scene, 0, x, np.full_like(x, neck + r * 0.5), x, np.full_like(x, hip), r, torso)
    head = p.shoulder_y - 17
    _put(scene, 1, x, np.full_like(x, head - 2), x, np.full_like(x, head + 2), 8.5, skin)
    for k, (side, path) in enumerate(zip((-1, 1), GESTURES[label], strict=True)):
        shoulder = x + side * p.half_width, np.full_like(x, p.shoulder_y)
        dx, dy = path(p, side, move)
        elbow, hand = _bend(p, side, shoulder, dx, dy)
        _put(scene, 2 + 3 * k, *shoulder, *elbow, p.thickness + 0.8, upper)
        _put(scene, 3 + 3 * k, *elbow, *hand, p.thickness, fore)
        _put(scene, 4 + 3 * k, *hand, *hand, p.thickness + 1.2, skin)
    return scene


def _put(scene: Array, k: int, *values: Array | float) -> None:
    for i, value in enumerate(values):
        scene[:, k, i] = value


def _bend(
    p: Person, side: int, shoulder: tuple[Array, Array], dx: Array, dy: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return elbow and hand: two-link inverse kinematics, the elbow outwards and down."""
    d = np.hypot(dx, dy) + 1e-9
    reach = np.clip(d, abs(p.upper_arm - p.forearm) + 0.5, p.reach - 0.5)
    ux, uy = dx / d, dy / d
    along = (reach**2 + p.upper_arm**2 - p.forearm**2) / (2 * reach)
    aside = side * np.sqrt(np.maximum(p.upper_arm**2 - along**2, 0))
    elbow = shoulder[0] + ux * along + uy * aside, shoulder[1] + uy * along - ux * aside
    return elbow, (shoulder[0] + ux * reach, shoulder[1] + uy * reach)


@njit(cache=True, nogil=True)
def draw(background: Any, scene: Any, contrast: float) -> Any:
    """Draw the capsules of each image [M, H, W], later ones on top, with soft edges."""
    height, width = background.shape
    images = np.empty((scene.shape[0], height, width), np.float32)
    for m in range(scene.shape[0]):
        images[m] = background
        for k in range(scene.shape[1]):
            x0, y0, x1, y1, r, light = scene[m, k]
            ex, ey = x1 - x0, y1 - y0
            length2 = ex * ex + ey * ey + 1e-9
            top, low = max(int(min(y0, y1) - r) - 1, 0), min(int(max(y0, y1) + r) + 2, height)
            left, right = max(int(min(x0, x1) - r) - 1, 0), min(int(max(x0, x1) + r) + 2, width)
            for y in range(top, low):
                for x in range(left, right):
                    s = min(max(((x - x0) * ex + (y - y0) * ey) / length2, 0.0), 1.0)
                    gap = np.hypot(x - x0 - s * ex, y - y0 - s * ey)
                    cover = min(max(r - gap + 0.5, 0.0), 1.0)
                    if cover > 0:
                        old = images[m, y, x]
                        images[m, y, x] = old + cover * (contrast * light - old)
    return images
