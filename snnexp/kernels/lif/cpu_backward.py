"""The adjoint of the LIF scan for CPUs, compiled by Numba; derived in kernels/README.md.

As `snnexp.kernels.lif.cpu_forward`, whose scan it runs again from x, to the last bit: h stays in a
scratch tile that the cache holds. Where parameters are learned the tile holds v[t-1] - v_reset,
from which h[t] follows. Where x is `static` the tile holds the sum of its gradient over time, too,
and stores it at the end. Gradients are promised to some digits only, so that they may be multiplied
and added in one rounding where the processor can.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import carray, cfunc, njit

from snnexp.kernels.arithmetic import INLINE, OPTIONS, fingerprint, slope
from snnexp.kernels.lif import cpu_tiles
from snnexp.kernels.lif.cpu_tiles import (
    BLOCK,
    DECAY,
    GAIN,
    GIVEN,
    OF_DECAY,
    OF_GAIN,
    OF_V_TH,
    OF_X,
    OTHER,
    SIZES,
    STATE,
    V_TH,
    WIDTH,
    address,
    aligned,
    collect,
    load_params,
    membrane_after,
    pack,
    spread,
    start,
    tile_at,
    unpack,
)
from snnexp.kernels.lif.settings import Learned
from snnexp.kernels.native import SIGNATURE, Record, fence, pointer, prefetch
from snnexp.kernels.vectors import (
    LANES,
    fused,
    lanes_of,
    load_lanes,
    store_lanes,
    store_lanes_past_cache,
    where,
)

CONSTANTS = ("c0", "c1", "c2", "c3", "c4")
#: What the kernel is given, see `cpu_forward`. grad_x has the steps of x, grad_v and grad_v0 are of
#: the type of the state, sums [tasks, 3, params] are float64, c0 to c4 the surrogate's constants.
BACKWARD = Record(
    ("grad_s", "grad_v", *GIVEN, "grad_x", "grad_v0", "sums"), SIZES, ("v_reset", *CONSTANTS)
)
ARGUMENTS = BACKWARD.dtype


@njit(**INLINE)
def again(
    x: Any,
    first: int,
    stride: int,
    many: int,
    width: int,
    ahead: int,
    kept: Any,
    work: Any,
    given: Any,
    variant: Any,
) -> None:
    """Run `many` steps of the scan from x[first] on, `stride` apart; ask for as many at `ahead`."""
    hard, soft, _, _, by_channel, learned, _, _, static = variant
    d, g, th, v_reset, one, zero = given
    for k in range(0, width, LANES):
        v = load_lanes(work[STATE], k)
        if by_channel:
            d, g, th = load_params(work, k)
        current = zero
        if static:
            current = load_lanes(x, first + k)
        for j in range(many):
            p = j * stride + k
            prefetch(ahead + p * x.itemsize)
            u = v - v_reset
            if not static:
                current = load_lanes(x, first + p)
            h = v_reset + d * u + g * current
            store_lanes(kept, j * width + k, u if learned else h)
            v = membrane_after(hard, soft, h, where(h >= th, one, zero), th, v_reset, one)
        store_lanes(work[STATE], k, v)


@njit(**INLINE)
def back(
    x: Any,
    first: int,
    grad_s: Any,
    grad_x: Any,
    at: int,
    stride: int,
    many: int,
    width: int,
    ahead: int,
    kept: Any,
    work: Any,
    given: Any,
    curve: Any,
    variant: Any,
) -> None:
    """Go back over `many` steps that begin at x[first] and grad_s[at]; ask for as many from `ahead`
    on, and of a static x for the neurons behind these.
    """
    hard, soft, detach, code, by_channel, learned, learned_th, past_cache, static = variant
    d, g, th, v_reset, one, zero = given
    of_d, of_g, of_th, of_x, same = zero, zero, zero, zero, zero
    for k in range(0, width, LANES):
        gv = load_lanes(work[OTHER], k)
        if by_channel:
            d, g, th = load_params(work, k)
        if learned:
            of_d, of_g = load_lanes(work[OF_DECAY], k), load_lanes(work[OF_GAIN], k)
        if learned_th:
            of_th = load_lanes(work[OF_V_TH], k)
        if static:
            of_x, same = load_lanes(work[OF_X], k), load_lanes(x, first + k)
            prefetch(address(x, first + width + k))
        for j in range(many - 1, -1, -1):
            p = j * stride + k
            prefetch(ahead + p * x.itemsize)
            h = load_lanes(kept, j * width + k)
            u, current = h, same
            if learned:
                if not static:
                    current = load_lanes(x, first + p)
                h = v_reset + d * u + g * current
            spike = where(h >= th, one, zero)
            g_spike, gh = load_lanes(grad_s, at + p), gv
            if hard:
                gh = gv * (one - spike)
                if not detach:
                    g_spike = fused(gv, v_reset - h, g_spike)
            elif soft and not detach:
                g_spike = fused(-gv, th, g_spike)
            steep = slope(code, h - th, one, curve)
            gh = fused(g_spike, steep, gh)
            if static:
                of_x = of_x + gh
            elif past_cache:
                store_lanes_past_cache(grad_x, at + p, g * gh)
            else:
                store_lanes(grad_x, at + p, g * gh)
            if learned:
                of_d = fused(gh, u, of_d)
                if not static:
                    of_g = fused(gh, current, of_g)
            if learned_th:
                of_th = fused(-g_spike, steep, of_th)
                if soft:
                    of_th = fused(-gv, spike, of_th)
            gv = d * gh
        store_lanes(work[OTHER], k, gv)
        if learned:
            store_lanes(work[OF_DECAY], k, of_d)
            store_lanes(work[OF_GAIN], k, of_g)
        if learned_th:
            store_lanes(work[OF_V_TH], k, of_th)
        if static:
            store_lanes(work[OF_X], k, of_x)


@njit(**INLINE)
def finish(
    x: Any, grad_x: Any, first: int, width: int, work: Any, given: Any, variant: Any
) -> None:
    """Store the gradient of a static x from grad_x[first] on: g times the sum of gh over time."""
    _, _, _, _, by_channel, learned, _, _, _ = variant
    _, g, _, _, _, _ = given
    for k in range(0, width, LANES):
        of_x = load_lanes(work[OF_X], k)
        if by_channel:
            g = load_lanes(work[GAIN], k)
        store_lanes(grad_x, first + k, g * of_x)
        if learned:
            store_lanes(work[OF_GAIN], k, of_x * load_lanes(x, first + k))


@lru_cache
def backward_kernel(
    stored: type,
    state: type,
    reset: str,
    detach: bool,
    code: int,
    by_channel: bool,
    learned: Learned,
    past_cache: bool,
    static: bool,
) -> Any:
    """Return the adjoint for one type of x, one kind of reset, one surrogate.

    Reads grad_s, grad_v and what the scan reads; fills grad_x, grad_v0 and, of the parameters that
    are learned, sums.
    """
    compiled_from = fingerprint(cpu_tiles.__file__)
    hard, soft = reset == "hard", reset == "soft"
    some, th = learned != "none", learned == "all"
    variant = hard, soft, detach, code, by_channel, some, th, past_cache, static

    @cfunc(SIGNATURE, **OPTIONS)
    def backward(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, ARGUMENTS)[0]
        outer, steps, inner, below = a.outer, a.steps, a.inner, a.below
        rows, width = a.rows, a.width
        neurons, taken = outer * inner, 1 if static else steps
        x = carray(pointer(a.x), neurons * taken, stored)
        grad_s = carray(pointer(a.grad_s), neurons * steps, stored)
        grad_x = carray(pointer(a.grad_x), neurons * taken, stored)
        v0 = carray(pointer(a.v0), neurons if a.v0 else 0, state)
        grad_v = carray(pointer(a.grad_v), neurons if a.grad_v else 0, state)
        grad_v0 = carray(pointer(a.grad_v0), neurons if a.grad_v0 else 0, state)
        decay = carray(pointer(a.decay), a.params, state)
        gain = carray(pointer(a.gain), a.params, state)
        v_th = carray(pointer(a.v_th), a.params, state)
        sums = carray(pointer(a.sums), (a.tasks if some else 0, 3, a.params), np.float64)
        v_reset = state(a.v_reset)
        params = lanes_of(decay[0]), lanes_of(gain[0]), lanes_of(v_th[0])
        given = (*params, lanes_of(v_reset), lanes_of(state(1)), lanes_of(state(0)))
        c0, c1, c2 = lanes_of(state(a.c0)), lanes_of(state(a.c1)), lanes_of(state(a.c2))
        curve = c0, c1, c2, lanes_of(state(a.c3)), lanes_of(state(a.c4))
        room = width if rows or inner % LANES else 0
        x_tile, gx_tile = aligned(taken * room, x), aligned(taken * room, x)
        gs_tile = aligned(steps * room, x)
        kept = aligned(steps * width, decay)
        work = aligned(9 * WIDTH, decay).reshape((9, WIDTH))
        for tile in range(a.tiles * task // a.tasks, a.tiles * (task + 1) // a.tasks):
            row, full, i, m = tile_at(tile, outer, inner, rows, width)
            n, first = row * inner + i, row * steps * inner + i
            length, pitch = inner if rows else m, -(-m // LANES) * LANES
            packed = rows > 0 or pitch > m
            xs, gss, gxs = x, grad_s, grad_x
            at, stride, beyond = first, inner, first + m
            only = n if static else first
            if packed:
                pack(x, only, full, taken, inner, length, x_tile, pitch)
                pack(grad_s, first, full, steps, inner, length, gs_tile, pitch)
                xs, gss, gxs = x_tile, gs_tile, gx_tile
                at, stride, beyond, only = 0, pitch, 0, 0
            start(v0, n, v_reset, work[STATE, :m])
            start(grad_v, n, state(0), work[OTHER, :m])
            if by_channel:
                spread(decay, n, below, work[DECAY, :m])
                spread(gain, n, below, work[GAIN, :m])
                spread(v_th, n, below, work[V_TH, :m])
            if some:
                work[OF_DECAY:] = 0
            if static:
                work[OF_X] = 0

            last = (steps - 1) // BLOCK * BLOCK
            for t in range(0, steps, BLOCK):
                p, hs = at + t * stride, kept[t * pitch :]
                coming = address(xs, p + BLOCK * stride)
                if static or t == last:
                    coming = address(gss, at + last * stride)
                many, begin = min(BLOCK, steps - t), only if static else p
                again(xs, begin, stride, many, pitch, coming, hs, work, given, variant)
            for t in range(last, -1, -BLOCK):
                p, hs = at + t * stride, kept[t * pitch :]
                coming = address(gss, p - BLOCK * stride)
                if t == 0:
                    coming = address(gss, p) if static else address(xs, beyond)
                many, begin = min(BLOCK, steps - t), only if static else p
                back(
                    xs, begin, gss, gxs, p, stride, many, pitch, coming, hs, work, given, curve,
                    variant,
                )  # fmt: skip

            if static:
                finish(xs, gxs, only, pitch, work, given, variant)
            if packed:
                only = n if static else first
                unpack(gx_tile, pitch, only, full, taken, inner, length, grad_x)
            if grad_v0.size:
                grad_v0[n : n + m] = work[OTHER, :m]
            if some:
                collect(work[OF_DECAY, :m], n, below, sums[task, 0])
                collect(work[OF_GAIN, :m], n, below, sums[task, 1])
            if th:
                collect(work[OF_V_TH, :m], n, below, sums[task, 2])
        if past_cache:
            fence()

    return backward
