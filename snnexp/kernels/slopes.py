"""The constants with which the kernels' twins of `Surrogate.derivative` are written.

With u = h - v_th and constants (a, b, c, d, e), so that a kernel computes nothing twice:

| name             | g'(u)                                                        |
|------------------|--------------------------------------------------------------|
| `atan`           | a / (1 + (b u)^2)                                            |
| `sigmoid`        | a q / (1 + q)^2, q = exp(-b abs(u))                          |
| `fast_sigmoid`   | 1 / (1 + b abs(u))^2                                         |
| `triangle`       | a max(0, 1 - b abs(u))                                       |
| `rectangle`      | a where abs(u) < b, else 0                                   |
| `erf`            | a exp(-(b u)^2)                                              |
| `multi_gaussian` | a exp(-(b u)^2) - c (exp(-(d (u-e))^2) + exp(-(d (u+e))^2))  |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from snnexp.surrogates import (
    ATan,
    Erf,
    FastSigmoid,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Triangle,
    from_params,
)

#: the number by which a compiled kernel tells the surrogates apart
CODES = {
    "atan": 0,
    "sigmoid": 1,
    "fast_sigmoid": 2,
    "triangle": 3,
    "rectangle": 4,
    "erf": 5,
    "multi_gaussian": 6,
}


def slope_constants(name: str, params: Sequence[float]) -> tuple[float, ...]:
    """Return (a, b, c, d, e) of the table above, 0 where there is none."""
    return _constants(name, tuple(params))


@lru_cache
def _constants(name: str, params: tuple[float, ...]) -> tuple[float, ...]:
    match from_params(name, params):
        case ATan(alpha=alpha):
            used = [alpha / 2, math.pi / 2 * alpha]
        case Sigmoid(alpha=alpha, scaled=scaled):
            used = [alpha if scaled else 1.0, alpha]
        case FastSigmoid(alpha=alpha):
            used = [1.0, alpha]
        case Triangle(alpha=alpha, peak=peak):
            used = [peak, alpha]
        case Rectangle(alpha=alpha):
            used = [alpha, 1 / (2 * alpha)]
        case Erf(alpha=alpha):
            used = [alpha / math.sqrt(math.pi), alpha]
        case MultiGaussian(gamma=gamma, sigma=sigma, spread=spread, height=height):
            wide, norm = spread * sigma, math.sqrt(2 * math.pi)
            used = [
                gamma * (1 + height) / (sigma * norm),
                1 / (sigma * math.sqrt(2)),
                gamma * height / (wide * norm),
                1 / (wide * math.sqrt(2)),
                sigma,
            ]
        case other:
            raise ValueError(f"surrogate {other.name} has no twin in the kernels")
    return tuple(used + [0.0] * (5 - len(used)))
