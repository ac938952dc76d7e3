"""The `cpu` provider of the lateral reset: torch tensors in, Numba kernels, torch tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from snnexp.kernels import native
from snnexp.kernels.allocator import empty_like
from snnexp.kernels.lateral.cpu_kernels import (
    BACKWARD,
    CONSTANTS,
    FORWARD,
    backward_kernel,
    forward_kernel,
)
from snnexp.kernels.layout import Layout
from snnexp.kernels.lif.cpu import STATE, STORED
from snnexp.kernels.slopes import CODES, slope_constants

#: the membranes of all steps of a tile stay in a core's cache
SCRATCH_BYTES = 2**18
#: places that share a cache line where channels are not side by side
LINE = 16
#: neurons worth waking a thread for, most tasks, and most numbers in their sums of the matrix
TASK_NEURONS, MAX_TASKS, MAX_SUMS = 4096, 64, 2**22


def _sizes(layout: Layout, itemsize: int) -> dict[str, int]:
    """Cut the places into tiles and tasks, by sizes only: sums come out the same everywhere."""
    places, channels = layout.above * layout.below, layout.channels
    least = LINE if layout.below > 1 else 1
    width = min(places, max(least, SCRATCH_BYTES // (itemsize * max(1, layout.steps) * channels)))
    tiles = -(-places // width)
    most = max(1, min(MAX_TASKS, MAX_SUMS // channels**2))
    inside = layout.order.index(layout.channel_dim) > layout.order.index(layout.time_dim)
    return {
        "places": places,
        "channels": channels,
        "steps": layout.steps,
        "inner": layout.inner,
        "below": layout.below,
        "stride": layout.below * (1 if inside else layout.steps),
        "width": width,
        "tiles": tiles,
        "tasks": max(1, min(tiles, most, layout.neurons // TASK_NEURONS)),
    }


# A net calls its layers with the same few shapes in every step.
@lru_cache(maxsize=1024)
def _forward(layout: Layout, stored: torch.dtype, state: torch.dtype) -> native.Launch:
    kernel = forward_kernel(STORED[stored], STATE[state])
    return native.Launch(kernel, FORWARD, _sizes(layout, state.itemsize))


@lru_cache(maxsize=1024)
def _backward(
    layout: Layout,
    stored: torch.dtype,
    state: torch.dtype,
    detach: bool,
    surrogate: str,
    surrogate_params: tuple[float, ...],
) -> native.Launch:
    kernel = backward_kernel(STORED[stored], STATE[state], detach, CODES[surrogate])
    constants = zip(CONSTANTS, slope_constants(surrogate, surrogate_params), strict=True)
    return native.Launch(kernel, BACKWARD, _sizes(layout, state.itemsize) | dict(constants))


def _step(v: Tensor | None, layout: Layout) -> Tensor | None:
    """Return one step's values with the neurons in the order of memory."""
    return None if v is None else layout.to_step(v).contiguous()


def _params(
    decay: Tensor, gain: Tensor, v_th: Tensor, reset_CC: Tensor, channels: int
) -> list[Tensor]:
    """Return the parameters with one value a channel, and D row by row and column by column."""
    params = [p.expand(channels).contiguous() for p in (decay, gain, v_th)]
    return [*params, reset_CC.contiguous(), reset_CC.T.contiguous()]


def forward(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    reset_CC: Tensor,
    time_dim: int,
    channel_dim: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the scan of `reference.lateral` on a dense x; return (spikes, v, count)."""
    layout = Layout.of(x, time_dim, channel_dim)
    spikes = empty_like(x)
    v, count = layout.empty_step(decay.dtype), layout.empty_step(torch.float32)
    if layout.neurons:
        params = _params(decay, gain, v_th, reset_CC, layout.channels)
        run = _forward(layout, x.dtype, v.dtype)
        run(x, _step(v0, layout), *params, spikes, v, count)
    return spikes, v, count


def backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    reset_CC: Tensor,
    detach_reset: bool,
    surrogate: str,
    surrogate_params: Sequence[float],
    time_dim: int,
    channel_dim: int,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of (x, v0, decay, gain, v_th, reset_CC).

    grad_spikes lies in memory like x. The gradient of v0 is None without v0.
    """
    layout = Layout.of(x, time_dim, channel_dim)
    channels = layout.channels
    grad_x = empty_like(x)
    grad_v0 = None if v0 is None else layout.empty_step(decay.dtype)
    run = None
    if layout.neurons:
        run = _backward(
            layout, x.dtype, decay.dtype, detach_reset, surrogate, tuple(surrogate_params)
        )
    tasks = run.tasks if run else 0
    sums = torch.zeros(tasks, 3, channels, dtype=torch.float64)
    sums_reset = torch.zeros(tasks, channels, channels, dtype=torch.float64)
    if run:
        v0, grad_v = _step(v0, layout), _step(grad_v, layout)
        params = _params(decay, gain, v_th, reset_CC, channels)
        run(grad_spikes, grad_v, x, v0, *params, grad_x, grad_v0, sums, sums_reset)
    of_decay, of_gain, of_th = (
        (sums[:, i].sum(0) if p.ndim else sums[:, i].sum()).to(p.dtype)
        for i, p in enumerate((decay, gain, v_th))
    )
    of_reset = sums_reset.sum(0).T.contiguous().to(decay.dtype)
    return grad_x, grad_v0, of_decay, of_gain, of_th, of_reset
