"""The `cpu` provider of the LIF scan: torch tensors in, Numba kernels, torch tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from snnexp.kernels import native
from snnexp.kernels.allocator import empty_like
from snnexp.kernels.layout import Layout
from snnexp.kernels.lif.cpu_kernels import (
    NUMBERS,
    RECORD,
    WIDTH,
    backward_kernel,
    forward_kernel,
)
from snnexp.kernels.slopes import CODES, slope_constants

# Numba knows no bfloat16 and computes no float16: the kernels get the bits.
STORED = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.bfloat16: np.uint16,
    torch.float16: np.int16,
}
STATE = {torch.float32: np.float32, torch.float64: np.float64}

#: the scratch of all steps of a tile stays in a core's cache
SCRATCH_BYTES = 2**18
#: rows shorter than this are packed side by side, longer ones are vectorised as they are
SHORT_ROW = 24
#: neurons worth waking a thread for, and the most partial sums of a parameter's gradient
TASK_NEURONS, MAX_TASKS = 8192, 256


# A net calls its layers with the same few shapes in every step.
@lru_cache(maxsize=1024)
def _sizes(layout: Layout, itemsize: int, by_channel: bool) -> dict[str, int]:
    """Cut the neurons into tiles and tasks, by sizes only: sums come out the same everywhere."""
    width = min(WIDTH, max(64, SCRATCH_BYTES // (itemsize * max(1, layout.steps))))
    if layout.inner < SHORT_ROW and layout.outer > 1:
        rows = min(width // layout.inner, layout.outer)
        width, tiles = rows * layout.inner, -(-layout.outer // rows)
    else:
        rows, pieces = 0, -(-layout.inner // width)
        width, tiles = -(-layout.inner // pieces), layout.outer * pieces
    return {
        "outer": layout.outer,
        "steps": layout.steps,
        "inner": layout.inner,
        "params": layout.channels if by_channel else 1,
        "below": layout.below if by_channel else layout.neurons,
        "rows": rows,
        "width": width,
        "tiles": tiles,
        "tasks": max(1, min(tiles, MAX_TASKS, layout.neurons // TASK_NEURONS)),
    }


def _step(v: Tensor | None, layout: Layout) -> Tensor | None:
    """Return one step's values with the neurons in the order of memory."""
    return None if v is None else layout.to_step(v).contiguous()


def forward(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    v_reset: float,
    reset: str,
    time_dim: int,
    channel_dim: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the scan of `reference.lif` on a dense x; return (spikes, v, count)."""
    layout = Layout.of(x, time_dim, channel_dim)
    by_channel, params = _params(decay, gain, v_th, channels=layout.channels)
    spikes = empty_like(x)
    v = torch.empty(layout.neurons, dtype=decay.dtype)
    count = torch.empty(layout.neurons, dtype=torch.float32)
    if layout.neurons:
        v0 = _step(v0, layout)
        sizes = _sizes(layout, v.itemsize, by_channel)
        outputs = {"s": spikes, "v": v, "count": count}
        arguments = RECORD.fill(
            {"x": x, "v0": v0, "v_reset": v_reset, **outputs, **params, **sizes}
        )
        kernel = forward_kernel(STORED[x.dtype], STATE[v.dtype], reset, by_channel)
        native.run(kernel, arguments, sizes["tasks"])
    return spikes, layout.from_step(v), layout.from_step(count)


def _params(*params: Tensor, channels: int) -> tuple[bool, dict[str, Tensor]]:
    """Return whether any parameter has one value a channel, and all in one length."""
    by_channel = any(p.ndim for p in params)
    if by_channel:
        params = tuple(p.expand(channels).contiguous() for p in params)
    return by_channel, dict(zip(("decay", "gain", "v_th"), params, strict=True))


def backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    v_reset: float,
    reset: str,
    detach_reset: bool,
    surrogate: str,
    surrogate_params: Sequence[float],
    time_dim: int,
    channel_dim: int,
    learned: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of (x, v0, decay, gain, v_th), grad_spikes lying in memory like x.

    That of v0 is empty without v0, those of the parameters are empty unless `learned`.
    """
    layout = Layout.of(x, time_dim, channel_dim)
    by_channel, params = _params(decay, gain, v_th, channels=layout.channels)
    sizes = _sizes(layout, decay.itemsize, by_channel) if layout.neurons else {"tasks": 0}
    grad_x = empty_like(x)
    grad_v0 = None if v0 is None else torch.empty(layout.neurons, dtype=decay.dtype)
    sums = torch.zeros(sizes["tasks"], 3, layout.channels if by_channel else 1, dtype=torch.float64)
    if layout.neurons:
        v0, grad_v = _step(v0, layout), _step(grad_v, layout)
        given = {"x": x, "v0": v0, "grad_s": grad_spikes, "grad_v": grad_v, "v_reset": v_reset}
        outputs = {"grad_x": grad_x, "grad_v0": grad_v0, "sums": sums}
        constants = dict(
            zip(NUMBERS[1:], slope_constants(surrogate, surrogate_params), strict=True)
        )
        arguments = RECORD.fill({**given, **outputs, **constants, **params, **sizes})
        kernel = backward_kernel(
            STORED[x.dtype],
            STATE[decay.dtype],
            reset,
            detach_reset,
            CODES[surrogate],
            by_channel,
            learned,
        )
        native.run(kernel, arguments, sizes["tasks"])
    # an operator's outputs must not share memory
    of_v0 = decay.new_empty(0) if grad_v0 is None else layout.from_step(grad_v0)
    of_decay, of_gain, of_th = (
        (sums[:, i].sum(0) if p.ndim else sums[:, i].sum()).to(p.dtype)
        if learned
        else decay.new_empty(0)
        for i, p in enumerate((decay, gain, v_th))
    )
    return grad_x, of_v0, of_decay, of_gain, of_th
