"""The scan with lateral reset and its adjoint for CPUs: everything that Numba compiles.

Letters: T time, C channel, P places; x is [O, T, I] in memory, neurons are [A, C, L] (see
`snnexp.kernels.layout`). A place is one (a, l): the C neurons that reset each other.

How it works, and why:
- *Time inside, channels side by side.* The state of a place is one run of C numbers, so that a
  spike of channel j subtracts a row of D^T: one vector loop.
- *Only the spikes cost.* Of D s[t] the rows of silent channels are skipped, and so they are in
  the gradient of D, -sum v' s^T. What remains dense is D^T v' of a reset that is not detached.
- *A place lies in memory with one stride between its channels*: 1 with channels last, else L, or
  L T where time lies inside of the channels.
- *h is computed again in the backward* from x and the membranes before each step, which are kept
  in a scratch for a few places at a time.
- Rounding as in `reference`, but for the order of the sum over j.

The arithmetic is that of `snnexp.kernels.arithmetic`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import carray, cfunc, njit

from snnexp.kernels.arithmetic import OPTIONS, fingerprint, load, slope, store
from snnexp.kernels.native import SIGNATURE, Record, pointer

GIVEN = ("x", "v0", "decay", "gain", "v_th", "reset", "reset_t")
SIZES = ("places", "channels", "steps", "inner", "below", "stride", "width", "tiles", "tasks")
CONSTANTS = ("c0", "c1", "c2", "c3", "c4")
#: What the kernels are given. Addresses are 0 where there is nothing. decay, gain and v_th have C
#: values, `reset` is D, `reset_t` its transpose, all in the type of the state like v0, v, grad_v
#: and grad_v0; count is float32, sums [tasks, 3, C] and sums_reset [tasks, C, C] are float64, all
#: others are of the type of x. `below` is L, `stride` lies between the channels of a place in x. A
#: tile has up to `width` places.
FORWARD = Record((*GIVEN, "s", "v", "count"), SIZES, ())
BACKWARD = Record(
    ("grad_s", "grad_v", *GIVEN, "grad_x", "grad_v0", "sums", "sums_reset"), SIZES, CONSTANTS
)
FORWARD_ARGUMENTS, BACKWARD_ARGUMENTS = FORWARD.dtype, BACKWARD.dtype


@njit(**OPTIONS)
def take(source: Any, at: int, stride: int, out: Any) -> None:
    """Read out.size numbers from `at` on, `stride` apart, widened to the type of the state."""
    if stride == 1:
        run = source[at : at + out.size]
        for c in range(out.size):
            out[c] = load(run[c])
    else:
        for c in range(out.size):
            out[c] = load(source[np.uintp(at + c * stride)])


@njit(**OPTIONS)
def put(values: Any, target: Any, at: int, stride: int) -> None:
    """Write numbers of the state from `at` on, `stride` apart, rounded to the target's type."""
    if stride == 1:
        run = target[at : at + values.size]
        for c in range(values.size):
            run[c] = store(values[c], run)
    else:
        for c in range(values.size):
            target[np.uintp(at + c * stride)] = store(values[c], target)


@njit(**OPTIONS)
def reset_by(spikes: Any, reset_t: Any, taken: Any, v: Any) -> None:
    """Subtract D s from v; `taken` is room for D s."""
    channels, silent = spikes.size, True
    for j in range(channels):
        if spikes[j] != 0:
            row = reset_t[j * channels : j * channels + channels]
            if silent:
                taken[:] = row
                silent = False
            else:
                for c in range(taken.size):
                    taken[c] += row[c]
    if not silent:
        for c in range(v.size):
            v[c] -= taken[c]


# A sum over channels, in any order: the reference's product does not promise one either.
@njit(fastmath={"reassoc", "contract", "nsz"}, **OPTIONS)
def product(values: Any, matrix: Any, out: Any) -> None:
    """Write values^T matrix to out, four rows at a time."""
    channels = values.size
    out[:] = 0
    k = 0
    while k + 4 <= channels:
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        at = k * channels
        row_a, row_b = matrix[at : at + channels], matrix[at + channels : at + 2 * channels]
        at += 2 * channels
        row_c, row_d = matrix[at : at + channels], matrix[at + channels : at + 2 * channels]
        for j in range(out.size):
            out[j] += a * row_a[j] + b * row_b[j] + c * row_c[j] + d * row_d[j]
        k += 4
    while k < channels:
        a, row = values[k], matrix[k * channels : k * channels + channels]
        for j in range(out.size):
            out[j] += a * row[j]
        k += 1


@njit(**OPTIONS)
def find(
    place: int, count: int, channels: int, below: int, steps: int, inner: int, at: Any
) -> None:
    """Write where `count` places from `place` on begin: at[0] among neurons, at[1] in x."""
    for p in range(count):
        n = (place + p) // below * channels * below + (place + p) % below
        at[0, p] = n
        at[1, p] = n // inner * steps * inner + n % inner


@lru_cache
def forward_kernel(stored: type, state: type) -> Any:
    """Return the scan for one type of x. Reads x, v0, the parameters, D^T; fills s, v, count."""
    compiled_from = fingerprint()

    @cfunc(SIGNATURE, **OPTIONS)
    def forward(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, FORWARD_ARGUMENTS)[0]
        steps, channels, inner, below, stride = a.steps, a.channels, a.inner, a.below, a.stride
        neurons = a.places * channels
        x = carray(pointer(a.x), neurons * steps, stored)
        s = carray(pointer(a.s), neurons * steps, stored)
        v0 = carray(pointer(a.v0), neurons if a.v0 else 0, state)
        v = carray(pointer(a.v), neurons, state)
        count = carray(pointer(a.count), neurons, np.float32)
        ds = carray(pointer(a.decay), channels, state)
        gs = carray(pointer(a.gain), channels, state)
        ths = carray(pointer(a.v_th), channels, state)
        reset_t = carray(pointer(a.reset_t), channels * channels, state)
        one, zero = state(1), state(0)
        at = np.empty((2, a.width), np.int64)
        membranes, counts = np.empty(a.width * channels, state), np.empty(a.width * channels, state)
        xs, spikes, taken = (
            np.empty(channels, state),
            np.empty(channels, state),
            np.empty(channels, state),
        )
        for tile in range(a.tiles * task // a.tasks, a.tiles * (task + 1) // a.tasks):
            place = tile * a.width
            many = min(a.width, a.places - place)
            find(place, many, channels, below, steps, inner, at)
            counts[:] = 0
            membranes[:] = 0
            if v0.size:
                for p in range(many):
                    take(v0, at[0, p], below, membranes[p * channels : (p + 1) * channels])
            for t in range(steps):
                for p in range(many):
                    vs = membranes[p * channels : (p + 1) * channels]
                    cs = counts[p * channels : (p + 1) * channels]
                    take(x, at[1, p] + t * inner, stride, xs)
                    for c in range(vs.size):
                        h = ds[c] * vs[c] + gs[c] * xs[c]
                        spike = one if h >= ths[c] else zero
                        spikes[c] = spike
                        cs[c] += spike
                        vs[c] = h
                    put(spikes, s, at[1, p] + t * inner, stride)
                    reset_by(spikes, reset_t, taken, vs)
            for p in range(many):
                put(membranes[p * channels : (p + 1) * channels], v, at[0, p], below)
                for c in range(channels):
                    count[at[0, p] + c * below] = counts[p * channels + c]

    return forward


@lru_cache
def backward_kernel(stored: type, state: type, detach: bool, code: int) -> Any:
    """Return the adjoint of the scan, for one type of x and one surrogate.

    With v' the gradient of v[t], s' that of s[t], from t = T-1 down to 0:

        s'    <- s' - D^T v'          (not with `detach`)
        h'     = v' + s' g'(h - v_th)
        x'     = gain h',   v'[t-1] = decay h',   gain' += h' x[t],   decay' += h' v[t-1]
        v_th' -= s' g'(h - v_th),   D' -= v' s[t]^T

    Reads grad_s, grad_v and what the scan reads; fills grad_x, grad_v0, sums, and sums_reset with
    the transpose of D'.
    """
    compiled_from = fingerprint()

    @cfunc(SIGNATURE, **OPTIONS)
    def backward(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, BACKWARD_ARGUMENTS)[0]
        steps, channels, inner, below, stride = a.steps, a.channels, a.inner, a.below, a.stride
        neurons = a.places * channels
        x = carray(pointer(a.x), neurons * steps, stored)
        grad_s = carray(pointer(a.grad_s), neurons * steps, stored)
        grad_x = carray(pointer(a.grad_x), neurons * steps, stored)
        v0 = carray(pointer(a.v0), neurons if a.v0 else 0, state)
        grad_v = carray(pointer(a.grad_v), neurons if a.grad_v else 0, state)
        grad_v0 = carray(pointer(a.grad_v0), neurons if a.grad_v0 else 0, state)
        ds = carray(pointer(a.decay), channels, state)
        gs = carray(pointer(a.gain), channels, state)
        ths = carray(pointer(a.v_th), channels, state)
        reset = carray(pointer(a.reset), channels * channels, state)
        reset_t = carray(pointer(a.reset_t), channels * channels, state)
        sums = carray(pointer(a.sums), (a.tasks, 3, channels), np.float64)
        sums_reset = carray(pointer(a.sums_reset), (a.tasks, channels * channels), np.float64)
        of_decay, of_gain, of_th = sums[task, 0], sums[task, 1], sums[task, 2]
        of_reset = sums_reset[task]
        one, zero = state(1), state(0)
        constants = (state(a.c0), state(a.c1), state(a.c2), state(a.c3), state(a.c4))
        at = np.empty((2, a.width), np.int64)
        size = a.width * channels
        membranes, grads, before = (
            np.empty(size, state),
            np.empty(size, state),
            np.empty(steps * size, state),
        )
        xs, spikes, taken = (
            np.empty(channels, state),
            np.empty(channels, state),
            np.empty(channels, state),
        )
        for tile in range(a.tiles * task // a.tasks, a.tiles * (task + 1) // a.tasks):
            place = tile * a.width
            many = min(a.width, a.places - place)
            find(place, many, channels, below, steps, inner, at)
            membranes[:] = 0
            grads[:] = 0
            for p in range(many):
                if v0.size:
                    take(v0, at[0, p], below, membranes[p * channels : (p + 1) * channels])
                if grad_v.size:
                    take(grad_v, at[0, p], below, grads[p * channels : (p + 1) * channels])

            for t in range(steps):
                for p in range(many):
                    vs = membranes[p * channels : (p + 1) * channels]
                    kept = before[t * size + p * channels : t * size + (p + 1) * channels]
                    take(x, at[1, p] + t * inner, stride, xs)
                    for c in range(vs.size):
                        kept[c] = vs[c]
                        h = ds[c] * vs[c] + gs[c] * xs[c]
                        spikes[c] = one if h >= ths[c] else zero
                        vs[c] = h
                    reset_by(spikes, reset_t, taken, vs)

            for t in range(steps - 1, -1, -1):
                for p in range(many):
                    gvs = grads[p * channels : (p + 1) * channels]
                    kept = before[t * size + p * channels : t * size + (p + 1) * channels]
                    take(x, at[1, p] + t * inner, stride, xs)
                    take(grad_s, at[1, p] + t * inner, stride, spikes)
                    if not detach:
                        product(gvs, reset, taken)
                        for c in range(spikes.size):
                            spikes[c] -= taken[c]
                    for j in range(channels):
                        if ds[j] * kept[j] + gs[j] * xs[j] >= ths[j]:
                            row = of_reset[j * channels : (j + 1) * channels]
                            for c in range(gvs.size):
                                row[c] -= gvs[c]
                    for c in range(gvs.size):
                        h = ds[c] * kept[c] + gs[c] * xs[c]
                        fired = spikes[c] * slope(code, h - ths[c], one, constants)
                        gh = gvs[c] + fired
                        of_decay[c] += gh * kept[c]
                        of_gain[c] += gh * xs[c]
                        of_th[c] -= fired
                        spikes[c] = gs[c] * gh
                        gvs[c] = ds[c] * gh
                    put(spikes, grad_x, at[1, p] + t * inner, stride)
            if grad_v0.size:
                for p in range(many):
                    put(grads[p * channels : (p + 1) * channels], grad_v0, at[0, p], below)

    return backward
