"""The LIF scan and its adjoint for CPUs: everything that Numba compiles.

Letters: T time; x is [O, T, I] in memory, neurons are [A, C, L] (see `snnexp.kernels.layout`).

How it works, and why:
- *A tile of neurons stays in the cache while time runs*: some thousand neurons, all T steps. A
  tile is a piece of a row I; rows shorter than a few vectors are packed side by side first.
- *Slices, then a loop from zero.* Only `a = x[p : p + m]; for k in range(m): a[k]` vectorises:
  an index p + k might be negative, and Numba would test each.
- *Branch-free, one type.* Resets and surrogates are chosen at compile time by closure; every
  constant has the type of the state, since float32 with an int would be float64.
- *No fastmath, no fused multiply-add.* The loops wait for memory, so rounding once an operation,
  as torch does, is free and makes all providers agree to the last bit (see reference.py); NaN
  passes through.
- *Rows are asked for a step ahead.* A piece of a row ends before the processor has seen that it is
  read in order; the prefetch of the next one runs behind the arithmetic.
- *Large outputs go past the caches*, a row at a time: a plain store would first read the line from
  memory, a third of all traffic of the forward and a quarter of the backward's.
- *h is recomputed in the backward*, from x, into a scratch tile that stays in the cache: 8 bytes a
  neuron and step forward and 12 backward at float32, where storing h costs 12 and 12.
- bfloat16 is uint16 here, float16 is int16; state and arithmetic are float32 (float64 for float64).

All compiled code stands in this one file because Numba's cache on disk notices no other file.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, float32, int16, njit, types, uint32
from numba.extending import intrinsic, overload

from snnexp.kernels.native import (
    LINE,
    SIGNATURE,
    Record,
    fence,
    pointer,
    prefetch,
    store_past_cache,
)

OPTIONS: dict[str, Any] = {"error_model": "numpy", "cache": True}

#: most neurons in a tile: enough for long vector loops, few enough for the cache
WIDTH = 2048

GIVEN = ("x", "v0", "decay", "gain", "v_th")
SIZES = ("params", "outer", "steps", "inner", "below", "rows", "width", "tiles", "tasks", "stream")
CONSTANTS = ("c0", "c1", "c2", "c3", "c4")
#: What the kernels are given. Addresses are 0 where there is nothing. decay, gain and v_th hold
#: `params` values, one or one a channel, in the type of the state like v0, v, grad_v and grad_v0;
#: count is float32, sums [tasks, 3, params] float64, all others are of the type of x. A tile holds
#: `rows` whole rows of x_OTI or, with rows 0, up to `width` neurons of one row. c0 to c4 are the
#: surrogate's constants.
FORWARD = Record((*GIVEN, "s", "v", "count"), SIZES, ("v_reset",))
BACKWARD = Record(
    ("grad_s", "grad_v", *GIVEN, "grad_x", "grad_v0", "sums"), SIZES, ("v_reset", *CONSTANTS)
)
FORWARD_ARGUMENTS, BACKWARD_ARGUMENTS = FORWARD.dtype, BACKWARD.dtype

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


@njit(forceinline=True, **OPTIONS)
def exp32(x: Any) -> Any:
    """exp for float32 x <= 0, to about 1 ulp (Cephes' polynomial); unlike libm's it vectorises."""
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * r + np.float32(1.3981999507e-3)
    y = y * r + np.float32(8.3334519073e-3)
    y = y * r + np.float32(4.1665795894e-2)
    y = y * r + np.float32(1.6666665459e-1)
    y = y * r + np.float32(5.0000001201e-1)
    y = y * r * r + r + np.float32(1)
    return y * float_of(np.uint32((np.int32(n) + np.int32(127)) << np.int32(23)))


def exp(x: Any) -> Any:
    """exp in the type of the state."""


@overload(exp)
def _exp(x):
    if x == types.float32:
        return lambda x: exp32(x)
    return lambda x: math.exp(x)


@njit(forceinline=True, **OPTIONS)
def slope(code: Any, u: Any, one: Any, constants: Any) -> Any:
    """Return the surrogate's g'(u), see `snnexp.kernels.slopes`."""
    a, b, c, d, e = constants
    if code == ATAN:
        z = b * u
        return a / (one + z * z)
    if code == SIGMOID:
        q = exp(-b * abs(u))
        return a * q / ((one + q) * (one + q))
    if code == FAST_SIGMOID:
        z = one + b * abs(u)
        return one / (z * z)
    if code == TRIANGLE:
        return a * max(one - b * abs(u), one - one)
    if code == RECTANGLE:
        return a if abs(u) < b else one - one
    if code == ERF:
        z = b * u
        return a * exp(-(z * z))
    z, lower, upper = b * u, d * (u - e), d * (u + e)
    return a * exp(-(z * z)) - c * (exp(-(lower * lower)) + exp(-(upper * upper)))


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


@njit(forceinline=True, **OPTIONS)
def ask_for(array: Any, first: int, many: int) -> None:
    """Ask for numbers that will be read soon: rows are too short for the processor to foresee."""
    begin = array.ctypes.data + first * array.itemsize
    for at in range(begin, begin + many * array.itemsize, LINE):
        prefetch(at)


@njit(**OPTIONS)
def stream(row: Any, target: Any, p: int) -> None:
    """Copy a row to target[p:] past the caches."""
    size = row.itemsize
    begin, to = row.ctypes.data, target.ctypes.data + p * size
    head = min(row.size, (-to % LINE) // size)
    lines = (row.size - head) // (LINE // size)
    for k in range(head):
        target[np.uintp(p + k)] = row[k]
    for i in range(lines):
        at = head * size + i * LINE
        store_past_cache(begin + at, to + at)
    for k in range(head + lines * (LINE // size), row.size):
        target[np.uintp(p + k)] = row[k]


@njit(**OPTIONS)
def pack(x: Any, at: int, rows: int, steps: int, inner: int, tile: Any) -> None:
    """Copy rows x[r, t, i] from `at` on into the tile [t, r, i]."""
    move(x, at, steps * inner, inner, tile, 0, inner, rows * inner, rows, steps, inner)


@njit(**OPTIONS)
def unpack(tile: Any, at: int, rows: int, steps: int, inner: int, x: Any) -> None:
    """Copy the tile [t, r, i] to rows x[r, t, i] from `at` on."""
    move(tile, 0, inner, rows * inner, x, at, steps * inner, inner, rows, steps, inner)


@njit(**OPTIONS)
def spread(values: Any, first: int, below: int, out: Any) -> None:
    """Write the value of its channel for each neuron from `first` on."""
    k, m, channels = 0, out.size, values.size
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


@lru_cache
def forward_kernel(stored: type, state: type, reset: str, by_channel: bool) -> Any:
    """Return the scan for one type of x, one kind of reset, scalar or channel-wise parameters.

    Reads x, v0, decay, gain, v_th; fills s, v, count.
    """
    hard, soft = reset == "hard", reset == "soft"

    @cfunc(SIGNATURE, **OPTIONS)
    def forward(task: int, arguments: int) -> None:
        a = carray(pointer(arguments), 1, FORWARD_ARGUMENTS)[0]
        outer, steps, inner, below = a.outer, a.steps, a.inner, a.below
        rows, width = a.rows, a.width
        neurons = outer * inner
        x = carray(pointer(a.x), neurons * steps, stored)
        s = carray(pointer(a.s), neurons * steps, stored)
        v0 = carray(pointer(a.v0), neurons if a.v0 else 0, state)
        v = carray(pointer(a.v), neurons, state)
        count = carray(pointer(a.count), neurons, np.float32)
        decay = carray(pointer(a.decay), a.params, state)
        gain = carray(pointer(a.gain), a.params, state)
        v_th = carray(pointer(a.v_th), a.params, state)
        v_reset, one, zero = state(a.v_reset), state(1), state(0)
        d, g, th = decay[0], gain[0], v_th[0]
        x_tile = np.empty(steps * width if rows else 0, stored)
        s_tile = np.empty(x_tile.size, stored)
        past_cache = a.stream and not rows
        line = np.empty(width, stored)
        channel = np.empty((3, WIDTH), state)
        for tile in range(a.tiles * task // a.tasks, a.tiles * (task + 1) // a.tasks):
            row, many, i, m = tile_at(tile, outer, inner, rows, width)
            n, at, stride = row * inner + i, row * steps * inner + i, inner
            source, target = x, s
            if rows:
                pack(x, at, many, steps, inner, x_tile)
                source, target, at, stride = x_tile, s_tile, 0, m
            vs, counts = v[n : n + m], count[n : n + m]
            ds, gs, ths = channel[0, :m], channel[1, :m], channel[2, :m]
            start(v0, n, v_reset, vs)
            counts[:] = 0
            if by_channel:
                spread(decay, n, below, ds)
                spread(gain, n, below, gs)
                spread(v_th, n, below, ths)
            for t in range(steps):
                p = at + t * stride
                xs, ss = source[p : p + m], line[:m] if past_cache else target[p : p + m]
                ask_for(source, p + stride if t < steps - 1 else at + m, m)
                for k in range(xs.size):
                    if by_channel:
                        d, g, th = ds[k], gs[k], ths[k]
                    h = v_reset + d * (vs[k] - v_reset) + g * load(xs[k])
                    spike = one if h >= th else zero
                    ss[k] = store(spike, ss)
                    counts[k] += spike
                    if hard:
                        vs[k] = h * (one - spike) + v_reset * spike
                    elif soft:
                        vs[k] = h - th * spike
                    else:
                        vs[k] = h
                if past_cache:
                    stream(ss, target, p)
            if rows:
                unpack(s_tile, row * steps * inner, many, steps, inner, s)
        if past_cache:
            fence()

    return forward


@lru_cache
def backward_kernel(
    stored: type, state: type, reset: str, detach: bool, code: int, by_channel: bool, learned: bool
) -> Any:
    """Return the adjoint of the scan, derived in kernels/README.md.

    Reads grad_s, grad_v and what the scan reads; fills grad_x, grad_v0 and, if parameters are
    learned, sums.
    """
    hard, soft = reset == "hard", reset == "soft"

    @cfunc(SIGNATURE, **OPTIONS)
    def backward(task: int, arguments: int) -> None:
        a = carray(pointer(arguments), 1, BACKWARD_ARGUMENTS)[0]
        outer, steps, inner, below = a.outer, a.steps, a.inner, a.below
        rows, width = a.rows, a.width
        neurons = outer * inner
        x = carray(pointer(a.x), neurons * steps, stored)
        grad_s = carray(pointer(a.grad_s), neurons * steps, stored)
        grad_x = carray(pointer(a.grad_x), neurons * steps, stored)
        v0 = carray(pointer(a.v0), neurons if a.v0 else 0, state)
        grad_v = carray(pointer(a.grad_v), neurons if a.grad_v else 0, state)
        grad_v0 = carray(pointer(a.grad_v0), neurons if a.grad_v0 else 0, state)
        decay = carray(pointer(a.decay), a.params, state)
        gain = carray(pointer(a.gain), a.params, state)
        v_th = carray(pointer(a.v_th), a.params, state)
        sums = carray(pointer(a.sums), (a.tasks if learned else 0, 3, a.params), np.float64)
        v_reset, one, zero = state(a.v_reset), state(1), state(0)
        constants = (state(a.c0), state(a.c1), state(a.c2), state(a.c3), state(a.c4))
        d, g, th = decay[0], gain[0], v_th[0]
        x_tile = np.empty(steps * width if rows else 0, stored)
        gs_tile = np.empty(x_tile.size, stored)
        gx_tile = np.empty(x_tile.size, stored)
        # h[t]; where parameters are learned, v[t-1] - v_reset, from which h[t] follows
        scratch = np.empty(steps * width, state)
        past_cache = a.stream and not rows
        line = np.empty(width, stored)
        work = np.empty((8, WIDTH), state)
        for tile in range(a.tiles * task // a.tasks, a.tiles * (task + 1) // a.tasks):
            row, many, i, m = tile_at(tile, outer, inner, rows, width)
            n, at, stride = row * inner + i, row * steps * inner + i, inner
            source, given, target = x, grad_s, grad_x
            if rows:
                pack(x, at, many, steps, inner, x_tile)
                pack(grad_s, at, many, steps, inner, gs_tile)
                source, given, target, at, stride = x_tile, gs_tile, gx_tile, 0, m
            vs, gvs = work[0, :m], work[1, :m]
            ds, gs, ths = work[2, :m], work[3, :m], work[4, :m]
            gds, ggs, gths = work[5, :m], work[6, :m], work[7, :m]
            start(v0, n, v_reset, vs)
            start(grad_v, n, zero, gvs)
            if by_channel:
                spread(decay, n, below, ds)
                spread(gain, n, below, gs)
                spread(v_th, n, below, ths)

            for t in range(steps):
                p = at + t * stride
                xs, hs = source[p : p + m], scratch[t * m : t * m + m]
                if t < steps - 1:
                    ask_for(source, p + stride, m)
                else:
                    ask_for(given, p, m)
                for k in range(xs.size):
                    if by_channel:
                        d, g, th = ds[k], gs[k], ths[k]
                    u = vs[k] - v_reset
                    h = v_reset + d * u + g * load(xs[k])
                    hs[k] = u if learned else h
                    spike = one if h >= th else zero
                    if hard:
                        vs[k] = h * (one - spike) + v_reset * spike
                    elif soft:
                        vs[k] = h - th * spike
                    else:
                        vs[k] = h

            if learned:
                gds[:], ggs[:], gths[:] = 0, 0, 0
            for t in range(steps - 1, -1, -1):
                p = at + t * stride
                xs, hs = source[p : p + m], scratch[t * m : t * m + m]
                gss, gxs = given[p : p + m], line[:m] if past_cache else target[p : p + m]
                if t:
                    ask_for(given, p - stride, m)
                else:
                    ask_for(source, at + m, m)
                for k in range(gxs.size):
                    if by_channel:
                        d, g, th = ds[k], gs[k], ths[k]
                    h, gv = hs[k], gvs[k]
                    if learned:
                        h = v_reset + d * hs[k] + g * load(xs[k])
                    spike = one if h >= th else zero
                    g_spike, gh = load(gss[k]), gv
                    if hard:
                        gh = gv * (one - spike)
                        if not detach:
                            g_spike += gv * (v_reset - h)
                    elif soft and not detach:
                        g_spike -= gv * th
                    fired = g_spike * slope(code, h - th, one, constants)
                    gh += fired
                    gxs[k] = store(g * gh, gxs)
                    gvs[k] = d * gh
                    if learned:
                        gds[k] += gh * hs[k]
                        ggs[k] += gh * load(xs[k])
                        gths[k] -= fired + gv * spike if soft else fired
                if past_cache:
                    stream(gxs, target, p)

            if rows:
                unpack(gx_tile, row * steps * inner, many, steps, inner, grad_x)
            if grad_v0.size:
                grad_v0[n : n + m] = gvs
            if learned:
                collect(gds, n, below, sums[task, 0])
                collect(ggs, n, below, sums[task, 1])
                collect(gths, n, below, sums[task, 2])
        if past_cache:
            fence()

    return backward
