"""Tiles of neurons, and what moves numbers into and out of them; compiled by Numba.

A tile is a piece of a row I of x_OTI, or some whole rows, all T steps. A piece of whole vectors is
read and written where it lies. Rows that are short, or no whole vectors long, are packed side by
side into a tile [T, pitch] of their own first, whose last vector has room to spare.

What tells variants of a kernel apart is handed to functions as arguments, which are constants once
the function is part of the kernel: a kernel that held functions made for it would not be found in
Numba's cache by the next process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from snnexp.kernels.arithmetic import INLINE, OPTIONS
from snnexp.kernels.native import LINE
from snnexp.kernels.vectors import LANES, lanes_of, load_lanes, store_lanes, sum_of

#: most neurons in a tile, whose rows of x, h and outputs a core's first cache holds for some steps
WIDTH = 512
#: steps that a vector of neurons goes at once
BLOCK = 4

GIVEN = ("x", "v0", "decay", "gain", "v_th")
SIZES = ("params", "outer", "steps", "inner", "below", "rows", "width", "tiles", "tasks")

#: rows of a tile's own numbers: state, parameters, and sums for the gradients of an x that stays
#: the same and of the parameters
STATE, OTHER, DECAY, GAIN, V_TH, OF_X, OF_DECAY, OF_GAIN, OF_V_TH = range(9)


@njit(**OPTIONS)
def move(
    source: Any,
    p: int,
    source_row: int,
    source_step: int,
    target: Any,
    q: int,
    target_row: int,
    target_step: int,
    rows: int,
    steps: int,
    inner: int,
) -> None:
    """Copy [rows, steps, inner] from source[p:] to target[q:], whose rows and steps lie apart as
    given. The indices are unsigned, so that Numba does not test for one from the end.
    """
    for t in range(steps):
        if inner < 4:
            for i in range(inner):
                for r in range(rows):
                    a, b = p + t * source_step + i, q + t * target_step + i
                    target[np.uintp(b + r * target_row)] = source[np.uintp(a + r * source_row)]
        else:
            for r in range(rows):
                a, b = p + r * source_row + t * source_step, q + r * target_row + t * target_step
                for i in range(inner):
                    target[np.uintp(b + i)] = source[np.uintp(a + i)]


@njit(**OPTIONS)
def pack(
    x: Any, at: int, rows: int, steps: int, inner: int, many: int, tile: Any, pitch: int
) -> None:
    """Copy `many` numbers of each of the rows x[r, t, i] from `at` on into the tile [t, r, i]."""
    move(x, at, steps * inner, inner, tile, 0, many, pitch, rows, steps, many)


@njit(**OPTIONS)
def unpack(
    tile: Any, pitch: int, at: int, rows: int, steps: int, inner: int, many: int, x: Any
) -> None:
    """Copy the tile [t, r, i] back to rows x[r, t, i] from `at` on."""
    move(tile, 0, many, pitch, x, at, steps * inner, inner, rows, steps, many)


@njit(**OPTIONS)
def spread(values: Any, first: int, below: int, out: Any) -> None:
    """Write the value of its channel for each neuron from `first` on."""
    k, m, channels = 0, out.size, values.size
    if below % LANES == 0 and first % LANES == 0 and m % LANES == 0:  # a vector is of one channel
        c, left = (first // below) % channels, below - first % below
        for i in range(0, m, LANES):
            store_lanes(out, i, lanes_of(values[np.uintp(c)]))
            left -= LANES
            if left == 0:
                c, left = c + 1 if c + 1 < channels else 0, below
        return
    while k < m:
        c, end = ((first + k) // below) % channels, min(m, k + below - (first + k) % below)
        if below == 1:  # neighbours are channels: copy a run of them
            end = min(m, k + channels - c)
            out[k:end] = values[c : c + end - k]
        else:
            out[k:end] = values[c]
        k = end


# The only sum over neurons, and so the only place where the order of additions is the compiler's:
# several lanes, without which it would be the slowest loop of all.
@njit(fastmath={"reassoc", "nsz"}, **OPTIONS)
def total(values: Any) -> Any:
    """Return the sum of an array."""
    result = values.dtype.type(0)
    for k in range(values.size):
        result += values[k]
    return result


@njit(**OPTIONS)
def collect(values: Any, first: int, below: int, sums: Any) -> None:
    """Add the values of the neurons from `first` on to the sums of their channels."""
    k, m, channels = 0, values.size, sums.size
    if below % LANES == 0 and first % LANES == 0 and m % LANES == 0:
        c, left = (first // below) % channels, below - first % below
        part = load_lanes(values, 0)
        for i in range(LANES, m, LANES):
            left -= LANES
            if left == 0:
                sums[np.uintp(c)] += sum_of(part)
                c, left = c + 1 if c + 1 < channels else 0, below
                part = load_lanes(values, i)
            else:
                part = part + load_lanes(values, i)
        sums[np.uintp(c)] += sum_of(part)
        return
    while k < m:
        c, end = ((first + k) // below) % channels, min(m, k + below - (first + k) % below)
        if below == 1:
            end = min(m, k + channels - c)
            for j in range(end - k):
                sums[c + j] += values[k + j]
        else:
            sums[c] += total(values[k:end])
        k = end


@njit(**OPTIONS)
def tile_at(tile: int, outer: int, inner: int, rows: int, width: int) -> tuple[int, int, int, int]:
    """Return (first row, number of rows, first position in the row, neurons) of a tile."""
    if rows:
        row = tile * rows
        many = min(rows, outer - row)
        return row, many, 0, many * inner
    pieces = (inner + width - 1) // width
    i = tile % pieces * width
    return tile // pieces, 1, i, min(width, inner - i)


@njit(**OPTIONS)
def start(values: Any, n: int, default: Any, out: Any) -> None:
    """Write the values of the neurons from n on, or the default where there are no values."""
    if values.size:
        out[:] = values[n : n + out.size]
    else:
        out[:] = default


@njit(**OPTIONS)
def aligned(numbers: int, like: Any) -> Any:
    """Return room for so many numbers of the type of an array, at the begin of a cache line."""
    room = np.empty(numbers + LINE // like.itemsize, like.dtype)
    skip = (-room.ctypes.data % LINE) // like.itemsize
    return room[skip : skip + numbers]


@njit(**INLINE)
def address(array: Any, index: int) -> int:
    """Return where in memory a number of an array stands, or would stand."""
    begin: int = array.ctypes.data + index * array.itemsize
    return begin


@njit(**INLINE)
def load_params(work: Any, k: int) -> Any:
    """Return (decay, gain, v_th) of sixteen neurons of a tile."""
    return load_lanes(work[DECAY], k), load_lanes(work[GAIN], k), load_lanes(work[V_TH], k)


@njit(**INLINE)
def membrane_after(
    hard: bool, soft: bool, h: Any, spike: Any, th: Any, v_reset: Any, one: Any
) -> Any:
    """Return the membrane after a step, from h and the spike."""
    if hard:
        return h * (one - spike) + v_reset * spike
    if soft:
        return h - th * spike
    return h
