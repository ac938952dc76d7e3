"""The sum over taps and its adjoint for CPUs, compiled by Numba.

Letters as in `snnexp.kernels.taps`. Channels lie side by side, K of each tap of each pixel: a
vector loop. The index of a number is unsigned, so that Numba does not test for one from the end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import carray, cfunc
from torch import Tensor

from snnexp.kernels.arithmetic import OPTIONS, fingerprint
from snnexp.kernels.native import SIGNATURE, Launch, Record, pointer
from snnexp.kernels.vectors import LANES, lanes_of, load_lanes, store_lanes

STORED = {torch.float32: np.float32, torch.float64: np.float64}
#: additions worth waking a thread for
TASK_SUMS = 2**17
#: rows of output worth a task of its own
TASK_ROWS = 32

SIZES = ("batch", "low", "low_across", "high", "across", "kernel", "channels", "tasks")
#: What both kernels are given: z [B, h, w, k, k, K] and out [B, H, W, K] or their gradients. `rows`
#: holds for each row of x the first row of the enlarged x that copies it, and at the end the number
#: of those rows; `columns` likewise. h, w, H, W are low, low_across, high, across.
RECORD = Record(("z", "rows", "columns", "out"), SIZES, ())
ARGUMENTS = RECORD.dtype


@lru_cache
def first_copies(low: int, high: int) -> Tensor:
    """Return for each of `low` pixels the first of `high` that copies it, or one behind; `high`."""
    # float32: in float64 torch rounds a single axis otherwise than pictures with channels last
    pixels = torch.arange(low + 1, dtype=torch.float32, device="cpu")
    near = F.interpolate(pixels[None, None, :low], high, mode="nearest")[0, 0]
    return torch.searchsorted(near, pixels)


def sum_taps(z: Tensor, out: Tensor, kernel: int) -> None:
    """Fill out [B, K, H, W] from z [B, k k K, h, w], both channels last."""
    # neighbouring tasks both read what adds to rows of both: let there be few
    _run(sum_kernel, z, out, kernel, -(-out.shape[0] * out.shape[2] // TASK_ROWS))


def spread_taps(grad: Tensor, grad_z: Tensor, kernel: int) -> None:
    """Fill the gradient of z from that of the output, both channels last."""
    _run(spread_kernel, grad_z, grad, kernel, grad_z.shape[0] * grad_z.shape[2])


def _run(kernel_of: Any, z: Tensor, out: Tensor, kernel: int, row_tasks: int) -> None:
    batch, n, low, low_across = z.shape
    _, channels, high, across = out.shape
    if not z.numel():
        return
    tasks = max(1, min(row_tasks, batch * n * high * across // TASK_SUMS))
    sizes = (batch, low, low_across, high, across, kernel, channels, tasks)
    Launch(kernel_of(STORED[z.dtype]), RECORD, dict(zip(SIZES, sizes, strict=True)))(
        z,
        first_copies(low, high + kernel - 1),
        first_copies(low_across, across + kernel - 1),
        out,
    )


@lru_cache
def sum_kernel(stored: type) -> Any:
    """Return the kernel of (2): a task is some rows of the output.

    z is read once, pixel by pixel; what it adds to lies in the nearest caches. Gathering for one
    pixel of the output after the other would read each of z's lines four times, from further away.
    """
    compiled_from = fingerprint()

    @cfunc(SIGNATURE, **OPTIONS)
    def run(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, ARGUMENTS)[0]
        low, low_across, high, across = a.low, a.low_across, a.high, a.across
        kernel, channels = a.kernel, a.channels
        pixel = kernel * kernel * channels
        z = carray(pointer(a.z), a.batch * low * low_across * pixel, stored)
        out = carray(pointer(a.out), a.batch * high * across * channels, stored)
        rows = carray(pointer(a.rows), low + 1, np.int64)
        columns = carray(pointer(a.columns), low_across + 1, np.int64)
        whole = channels // LANES * LANES
        begin, end = a.batch * high * task // a.tasks, a.batch * high * (task + 1) // a.tasks
        out[begin * across * channels : end * across * channels] = 0
        for b in range(a.batch):
            top, bottom = max(0, begin - b * high), min(high, end - b * high)
            for m in range(low):
                if rows[m + 1] <= top or rows[m] - kernel >= bottom:
                    continue
                for n in range(low_across):
                    for t in range(kernel * kernel):
                        r, s = t // kernel, t % kernel
                        p0, p1 = max(top, rows[m] - r), min(bottom, rows[m + 1] - r)
                        q0, q1 = max(0, columns[n] - s), min(across, columns[n + 1] - s)
                        at = ((b * low + m) * low_across + n) * pixel + t * channels
                        for p in range(p0, p1):
                            for q in range(q0, q1):
                                to = ((b * high + p) * across + q) * channels
                                for c in range(0, whole, LANES):
                                    total = load_lanes(out, to + c) + load_lanes(z, at + c)
                                    store_lanes(out, to + c, total)
                                for c in range(whole, channels):
                                    out[np.uintp(to + c)] += z[np.uintp(at + c)]

    return run


@lru_cache
def spread_kernel(stored: type) -> Any:
    """Return the adjoint of (2): every z_t[m] gets the sum of out'[p] over near(p + t) = m.

    A task is some rows of z.
    """
    compiled_from = fingerprint()

    @cfunc(SIGNATURE, **OPTIONS)
    def run(task: int, arguments: int) -> None:
        if compiled_from < 0:
            return
        a = carray(pointer(arguments), 1, ARGUMENTS)[0]
        low, low_across, high, across = a.low, a.low_across, a.high, a.across
        kernel, channels = a.kernel, a.channels
        grad = carray(pointer(a.out), a.batch * high * across * channels, stored)
        grad_z = carray(
            pointer(a.z), a.batch * low * low_across * kernel * kernel * channels, stored
        )
        rows = carray(pointer(a.rows), low + 1, np.int64)
        columns = carray(pointer(a.columns), low_across + 1, np.int64)
        whole = channels // LANES * LANES
        lines = a.batch * low
        for y in range(lines * task // a.tasks, lines * (task + 1) // a.tasks):
            b, m = y // low, y % low
            for n in range(low_across):
                for r in range(kernel):
                    p0, p1 = max(0, rows[m] - r), min(high, rows[m + 1] - r)
                    for s in range(kernel):
                        q0, q1 = max(0, columns[n] - s), min(across, columns[n + 1] - s)
                        at = ((y * low_across + n) * kernel * kernel + r * kernel + s) * channels
                        for c in range(0, whole, LANES):
                            total = lanes_of(stored(0))
                            for p in range(p0, p1):
                                for q in range(q0, q1):
                                    total = total + load_lanes(
                                        grad, ((b * high + p) * across + q) * channels + c
                                    )
                            store_lanes(grad_z, at + c, total)
                        for c in range(whole, channels):
                            rest = stored(0)
                            for p in range(p0, p1):
                                for q in range(q0, q1):
                                    rest += grad[
                                        np.uintp(((b * high + p) * across + q) * channels + c)
                                    ]
                            grad_z[np.uintp(at + c)] = rest

    return run
