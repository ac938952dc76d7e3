"""Max pooling and its adjoint for CPUs, compiled by Numba: exactly torch's numbers.

Letters: k kernel, x [B, H, W, C] in memory, out [B, P, Q, C]. Channels lie side by side: vectors.
A task is some rows of what it writes, which no other task writes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import carray, cfunc, njit
from torch import Tensor

from snnexp.kernels.arithmetic import INLINE, OPTIONS, fingerprint, load, store
from snnexp.kernels.lif.cpu import STATE, STORED, STREAM_BYTES
from snnexp.kernels.native import SIGNATURE, Launch, Record, fence, pointer
from snnexp.kernels.vectors import (
    LANES,
    lanes_of,
    load_bytes,
    load_lanes,
    store_bytes,
    store_lanes,
    store_lanes_past_cache,
    where,
)

#: numbers of x worth waking a thread for
TASK_NUMBERS = 2**17

SIZES = ("batch", "high", "across", "rows", "columns", "channels")
WINDOW = ("kernel", "stride", "padding")
#: What both kernels are given: x [B, high, across, C] and out [B, rows, columns, C], or their
#: gradients, and for each number of out its position in the window.
RECORD = Record(("x", "out", "position"), (*SIZES, *WINDOW, "tasks"), ())
ARGUMENTS = RECORD.dtype


def pool(x: Tensor, out: Tensor, position: Tensor, kernel: int, stride: int, padding: int) -> None:
    """Fill out and position from x, all channels last."""
    run = pool_kernel(STORED[x.dtype], STATE.get(x.dtype, np.float32))
    _run(run, x, out, position, (kernel, stride, padding), out.shape[0] * out.shape[2])


def unpool(
    grad: Tensor, position: Tensor, grad_x: Tensor, kernel: int, stride: int, padding: int
) -> None:
    """Fill the gradient of x from that of the output, all channels last."""
    past_cache = grad_x.nbytes >= STREAM_BYTES and grad_x.shape[1] % LANES == 0
    run = unpool_kernel(STORED[grad.dtype], STATE.get(grad.dtype, np.float32), past_cache)
    rows = grad_x.shape[0] * grad_x.shape[2]
    _run(run, grad_x, grad, position, (kernel, stride, padding), rows)


def _run(
    run: Any,
    x: Tensor,
    out: Tensor,
    position: Tensor,
    window: tuple[int, int, int],
    rows: int,
) -> None:
    if not x.numel():
        return
    batch, channels, *sizes = x.shape
    tasks = max(1, min(rows, x.numel() // TASK_NUMBERS))
    given = (batch, *sizes, *out.shape[2:], channels, *window, tasks)
    constants = dict(zip((*SIZES, *WINDOW, "tasks"), given, strict=True))
    Launch(run, RECORD, constants)(x, out, position)


@njit(**INLINE)
def larger(value: Any, best: Any, at: Any, best_at: Any) -> Any:
    """Return (best, its position) after another value; the first of equals, but the last NaN."""
    best_at = where(best < value, at, best_at)
    best = where(best < value, value, best)
    return where(value >= value, best, value), where(value >= value, best_at, at)


@lru_cache
def pool_kernel(stored: type, state: type) -> Any:
    """Return the kernel of the forward: a task is some rows of the output."""
    compiled_from = fingerprint()

    @cfunc(SIGNATURE, **OPTIONS)
    def run(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, ARGUMENTS)[0]
        high, across, rows, columns, channels = a.high, a.across, a.rows, a.columns, a.channels
        kernel, stride, padding = a.kernel, a.stride, a.padding
        x = carray(pointer(a.x), a.batch * high * across * channels, stored)
        out = carray(pointer(a.out), a.batch * rows * columns * channels, stored)
        position = carray(pointer(a.position), a.batch * rows * columns * channels, np.uint8)
        whole, lines = channels // LANES * LANES, a.batch * rows
        for line in range(lines * task // a.tasks, lines * (task + 1) // a.tasks):
            top = line // rows * high + line % rows * stride - padding
            r0 = max(0, padding - line % rows * stride)
            r1 = min(kernel, high + padding - line % rows * stride)
            for q in range(columns):
                left = q * stride - padding
                s0, s1 = max(0, -left), min(kernel, across - left)
                to = (line * columns + q) * channels
                begin = ((top + r0) * across + left + s0) * channels
                for c in range(0, whole, LANES):
                    best = load_lanes(x, begin + c)
                    best_at = lanes_of(state(r0 * kernel + s0))
                    for r in range(r0, r1):
                        for s in range(s0, s1):
                            value = load_lanes(x, ((top + r) * across + left + s) * channels + c)
                            at = lanes_of(state(r * kernel + s))
                            best, best_at = larger(value, best, at, best_at)
                    store_lanes(out, to + c, best)
                    store_bytes(position, to + c, best_at)
                for c in range(whole, channels):
                    one = load(x[np.uintp(begin + c)])
                    one_at = r0 * kernel + s0
                    for r in range(r0, r1):
                        for s in range(s0, s1):
                            p = ((top + r) * across + left + s) * channels + c
                            other = load(x[np.uintp(p)])
                            if one < other or other != other:
                                one, one_at = other, r * kernel + s
                    out[np.uintp(to + c)] = store(one, out)
                    position[np.uintp(to + c)] = one_at

    return run


@lru_cache
def unpool_kernel(stored: type, state: type, past_cache: bool) -> Any:
    """Return the adjoint: a number of x gets the gradients of the windows that it is largest in.

    A task is some rows of x. They are stored past the caches where no cache could hold them.
    """
    compiled_from = fingerprint()

    @cfunc(SIGNATURE, **OPTIONS)
    def run(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, ARGUMENTS)[0]
        high, across, rows, columns, channels = a.high, a.across, a.rows, a.columns, a.channels
        kernel, stride, padding = a.kernel, a.stride, a.padding
        grad_x = carray(pointer(a.x), a.batch * high * across * channels, stored)
        grad = carray(pointer(a.out), a.batch * rows * columns * channels, stored)
        position = carray(pointer(a.position), a.batch * rows * columns * channels, np.uint8)
        whole, lines, zero = channels // LANES * LANES, a.batch * high, lanes_of(state(0))
        for line in range(lines * task // a.tasks, lines * (task + 1) // a.tasks):
            b, y = line // high, line % high + padding
            # the windows over a row: those that begin less than a kernel above it
            p0, p1 = max(0, (y - kernel + stride) // stride), min(rows, y // stride + 1)
            q0 = q1 = 0
            for column in range(across):
                x = column + padding
                while q1 < columns and q1 * stride <= x:
                    q1 += 1
                while q0 < q1 and q0 * stride + kernel <= x:
                    q0 += 1
                to = (line * across + column) * channels
                for c in range(0, whole, LANES):
                    total = zero
                    for p in range(p0, p1):
                        for q in range(q0, q1):
                            at = lanes_of(state((y - p * stride) * kernel + x - q * stride))
                            place = ((b * rows + p) * columns + q) * channels + c
                            chosen = load_bytes(position, place, zero) == at
                            total = total + where(chosen, load_lanes(grad, place), zero)
                    if past_cache:
                        store_lanes_past_cache(grad_x, to + c, total)
                    else:
                        store_lanes(grad_x, to + c, total)
                for c in range(whole, channels):
                    rest = state(0)
                    for p in range(p0, p1):
                        for q in range(q0, q1):
                            at = (y - p * stride) * kernel + x - q * stride
                            place = ((b * rows + p) * columns + q) * channels + c
                            if position[np.uintp(place)] == at:
                                rest += load(grad[np.uintp(place)])
                    grad_x[np.uintp(to + c)] = store(rest, grad_x)
        if past_cache:
            fence()

    return run
