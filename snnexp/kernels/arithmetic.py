"""The arithmetic that the CPU's kernels share: stored numbers, exp, and the surrogates' slopes.

Everything takes numbers and vectors (see `snnexp.kernels.vectors`) alike, but `load` and `store`,
which are for numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from llvmlite import ir
from numba import float32, int16, njit, types, uint32
from numba.extending import intrinsic, overload

from snnexp.kernels import native, vectors
from snnexp.kernels.vectors import exp2_of, exp_of, fused, like, maximum, where

#: of a kernel, and of what it calls
OPTIONS: dict[str, Any] = {"error_model": "numpy", "cache": True}
#: of what becomes part of its callers, and so is not kept by itself
INLINE: dict[str, Any] = {"error_model": "numpy", "forceinline": True}

ATAN, SIGMOID, FAST_SIGMOID, TRIANGLE, RECTANGLE, ERF, MULTI_GAUSSIAN = range(7)


def _reinterpret(result: Any, source: Any, target: Any) -> Any:
    @intrinsic
    def bits(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], target)

        return result(source), codegen

    return bits


bits_of = _reinterpret(uint32, float32, ir.IntType(32))
float_of = _reinterpret(float32, uint32, ir.FloatType())


@intrinsic
def half_to_float(typingctx: Any, value: Any) -> Any:
    """Widen the bits of a float16."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return float32(int16), codegen


@intrinsic
def float_to_half(typingctx: Any, value: Any) -> Any:
    """Round to the nearest float16, ties to even, and return its bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return int16(float32), codegen


def load(value: Any) -> Any:
    """Widen one stored number to the type of the state."""


def store(value: Any, like: Any) -> Any:
    """Round one number of the state to the type that the array `like` stores."""


# An overload has the signature of what it returns, so it carries no annotations.
@overload(load)
def _load(value):
    if value == types.uint16:
        return lambda value: float_of(np.uint32(value) << np.uint32(16))
    if value == types.int16:
        return lambda value: half_to_float(value)
    return lambda value: value


@njit(**OPTIONS)
def float_to_bfloat(value: Any) -> Any:
    """Round to the nearest bfloat16, ties to even, and return its bits; NaN stays NaN."""
    bits = bits_of(value)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    return np.uint16(rounded if value == value else np.uint32(0x7FC0))


@overload(store)
def _store(value, like):
    if like.dtype == types.uint16:
        return lambda value, like: float_to_bfloat(value)
    if like.dtype == types.int16:
        return lambda value, like: float_to_half(value)
    return lambda value, like: value


@njit(**INLINE)
def exp32(x: Any) -> Any:
    """exp for float32 x <= 0, to about 1 ulp (Cephes' polynomial); unlike libm's it vectorises."""
    x = maximum(x, like(x, -87.0))
    # 1.5 2^23 + 127: added to a number below 2^22 it leaves whole ones
    biased = fused(x, like(x, 1.44269504), like(x, 12583039.0))
    n = biased - like(x, 12583039.0)
    r = fused(n, like(x, 2.12194440e-4), fused(n, like(x, -0.693359375), x))
    y = fused(like(x, 1.9875691500e-4), r, like(x, 1.3981999507e-3))
    y = fused(y, r, like(x, 8.3334519073e-3))
    y = fused(y, r, like(x, 4.1665795894e-2))
    y = fused(y, r, like(x, 1.6666665459e-1))
    y = fused(y, r, like(x, 5.0000001201e-1))
    return fused(y, r * r, r + like(x, 1.0)) * exp2_of(biased)


def exp(x: Any) -> Any:
    """exp of x <= 0 in the type of the state."""


@overload(exp)
def _exp(x):
    if getattr(x, "element", x) == types.float32:
        return lambda x: exp32(x)
    return lambda x: exp_of(x)


@njit(**INLINE)
def slope(code: Any, u: Any, one: Any, constants: Any) -> Any:
    """Return the surrogate's g'(u), see `snnexp.kernels.slopes`."""
    a, b, c, d, e = constants
    if code == ATAN:
        z = b * u
        return a / fused(z, z, one)
    if code == SIGMOID:
        q = exp(-b * abs(u))
        return a * q / ((one + q) * (one + q))
    if code == FAST_SIGMOID:
        z = fused(b, abs(u), one)
        return one / (z * z)
    if code == TRIANGLE:
        return a * maximum(fused(-b, abs(u), one), one - one)
    if code == RECTANGLE:
        return where(abs(u) < b, a, one - one)
    if code == ERF:
        z = b * u
        return a * exp(-(z * z))
    z, lower, upper = b * u, d * (u - e), d * (u + e)
    return a * exp(-(z * z)) - c * (exp(-(lower * lower)) + exp(-(upper * upper)))


def fingerprint(*files: str) -> int:
    """Return a number that changes with these files, this one, and what it builds on.

    Numba's cache on disk notices changes of the file of a kernel only. A kernel that holds this
    number is compiled again when a file of the functions it calls has changed.
    """
    of = [*files, __file__, native.__file__, vectors.__file__]
    return crc32(b"".join(Path(file).read_bytes() for file in of))
