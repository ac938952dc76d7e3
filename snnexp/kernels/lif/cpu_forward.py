"""The LIF scan for CPUs, compiled by Numba.

Letters: T time; x is [O, T, I] in memory, neurons are [A, C, L] (see `snnexp.kernels.layout`).

How it works, and why:
- *A tile of neurons stays in the cache while time runs*: some hundred neurons, all T steps. A tile
  is a piece of a row I; rows that are short, or no whole vectors long, are packed side by side.
- *Sixteen neurons go four steps at once.* Their membranes stay in registers for that long, and the
  processor has four rows to wait for at a time instead of one.
- *What is needed next is asked for between the arithmetic*: the row piece four steps ahead.
- *Large outputs go past the caches*: a plain store would first read the line from memory, a third
  of all traffic of the forward and a quarter of the backward's.
- *A drive that stays the same is read once.* With `static` x has one step, which is the input of
  each; it comes into registers with the membranes, and only spikes go to memory.
- *Branch-free.* Resets and surrogates are constants of a kernel, chosen when it is compiled.
- *No fastmath, no fused multiply-add.* The loops wait for memory, so rounding once an operation,
  as torch does, is free and makes all providers agree to the last bit (see reference.py); NaN
  passes through.
- *One tensor is kept for the backward*: x, from which it computes h again. That is 8 bytes a neuron
  and step forward and 12 backward at float32, where storing h costs 12 and 12.
- bfloat16 is uint16 here, float16 is int16; state and arithmetic are float32 (float64 for float64).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import carray, cfunc, njit

from snnexp.kernels.arithmetic import INLINE, OPTIONS, fingerprint
from snnexp.kernels.lif import cpu_tiles
from snnexp.kernels.lif.cpu_tiles import (
    BLOCK,
    DECAY,
    GAIN,
    GIVEN,
    OTHER,
    SIZES,
    STATE,
    V_TH,
    WIDTH,
    address,
    aligned,
    load_params,
    membrane_after,
    pack,
    spread,
    start,
    tile_at,
    unpack,
)
from snnexp.kernels.native import SIGNATURE, Record, fence, pointer, prefetch
from snnexp.kernels.vectors import (
    LANES,
    lanes_of,
    load_lanes,
    store_lanes,
    store_lanes_past_cache,
    where,
)

#: What the kernel is given. Addresses are 0 where there is nothing. decay, gain and v_th hold
#: `params` values, one or one a channel, in the type of the state like v0 and v; count is float32,
#: x and s are of the type of x; a static x has one step. A tile holds `rows` whole rows of x_OTI
#: or, with rows 0, up to `width` neurons of one row.
FORWARD = Record((*GIVEN, "s", "v", "count"), SIZES, ("v_reset",))
ARGUMENTS = FORWARD.dtype


@njit(**INLINE)
def run(
    x: Any,
    first: int,
    s: Any,
    at: int,
    stride: int,
    many: int,
    width: int,
    ahead: int,
    work: Any,
    given: Any,
    variant: Any,
) -> None:
    """Run `many` steps of a tile from x[first] and s[at] on, `stride` apart; ask for as many from
    `ahead` on, or of a static x for the neurons behind these.
    """
    hard, soft, by_channel, past_cache, static = variant
    d, g, th, v_reset, one, zero = given
    for k in range(0, width, LANES):
        v, count = load_lanes(work[STATE], k), load_lanes(work[OTHER], k)
        if by_channel:
            d, g, th = load_params(work, k)
        current = zero
        if static:
            current = load_lanes(x, first + k)
            prefetch(address(x, first + width + k))
        for j in range(many):
            p = j * stride + k
            if not static:
                prefetch(ahead + p * x.itemsize)
                current = load_lanes(x, first + p)
            h = v_reset + d * (v - v_reset) + g * current
            spike = where(h >= th, one, zero)
            if past_cache:
                store_lanes_past_cache(s, at + p, spike)
            else:
                store_lanes(s, at + p, spike)
            count = count + spike
            v = membrane_after(hard, soft, h, spike, th, v_reset, one)
        store_lanes(work[STATE], k, v)
        store_lanes(work[OTHER], k, count)


@lru_cache
def forward_kernel(
    stored: type, state: type, reset: str, by_channel: bool, past_cache: bool, static: bool
) -> Any:
    """Return the scan for one type of x, one kind of reset, scalar or channel-wise parameters.

    Reads x, v0, decay, gain, v_th; fills s, v, count.
    """
    compiled_from = fingerprint(cpu_tiles.__file__)
    variant = reset == "hard", reset == "soft", by_channel, past_cache, static

    @cfunc(SIGNATURE, **OPTIONS)
    def forward(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, ARGUMENTS)[0]
        outer, steps, inner, below = a.outer, a.steps, a.inner, a.below
        rows, width = a.rows, a.width
        neurons, taken = outer * inner, 1 if static else steps
        x = carray(pointer(a.x), neurons * taken, stored)
        s = carray(pointer(a.s), neurons * steps, stored)
        v0 = carray(pointer(a.v0), neurons if a.v0 else 0, state)
        v = carray(pointer(a.v), neurons, state)
        count = carray(pointer(a.count), neurons, np.float32)
        decay = carray(pointer(a.decay), a.params, state)
        gain = carray(pointer(a.gain), a.params, state)
        v_th = carray(pointer(a.v_th), a.params, state)
        v_reset = state(a.v_reset)
        params = lanes_of(decay[0]), lanes_of(gain[0]), lanes_of(v_th[0])
        given = (*params, lanes_of(v_reset), lanes_of(state(1)), lanes_of(state(0)))
        room = width if rows or inner % LANES else 0
        x_tile, s_tile = aligned(taken * room, x), aligned(steps * room, x)
        work = aligned(5 * WIDTH, v).reshape((5, WIDTH))
        for tile in range(a.tiles * task // a.tasks, a.tiles * (task + 1) // a.tasks):
            row, full, i, m = tile_at(tile, outer, inner, rows, width)
            n, first = row * inner + i, row * steps * inner + i
            length, pitch = inner if rows else m, -(-m // LANES) * LANES
            packed = rows > 0 or pitch > m
            source, target, at, stride, beyond = x, s, first, inner, first + m
            only = n if static else first
            if packed:
                pack(x, only, full, taken, inner, length, x_tile, pitch)
                source, target, at, stride, beyond = x_tile, s_tile, 0, pitch, 0
                only = 0
            start(v0, n, v_reset, work[STATE, :m])
            work[OTHER] = 0
            if by_channel:
                spread(decay, n, below, work[DECAY, :m])
                spread(gain, n, below, work[GAIN, :m])
                spread(v_th, n, below, work[V_TH, :m])
            for t in range(0, steps, BLOCK):
                p, left = at + t * stride, steps - t
                coming = address(source, p + BLOCK * stride if left > BLOCK else beyond)
                many, begin = min(BLOCK, left), only if static else p
                run(source, begin, target, p, stride, many, pitch, coming, work, given, variant)
            v[n : n + m] = work[STATE, :m]
            count[n : n + m] = work[OTHER, :m]
            if packed:
                unpack(s_tile, pitch, first, full, steps, inner, length, s)
        if past_cache:
            fence()

    return forward
