"""The `cpu` provider of the LIF scan: torch tensors in, Numba kernels, torch tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from snnexp.kernels import native
from snnexp.kernels.allocator import empty_like, in_huge_pages
from snnexp.kernels.layout import Layout, empty_steps
from snnexp.kernels.lif.cpu_backward import BACKWARD, CONSTANTS, backward_kernel
from snnexp.kernels.lif.cpu_forward import FORWARD, forward_kernel
from snnexp.kernels.lif.cpu_tiles import WIDTH
from snnexp.kernels.slopes import CODES, slope_constants
from snnexp.kernels.vectors import LANES, whole_lanes

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
#: rows shorter than this are packed side by side, as are those that are no whole vectors long
SHORT_ROW = 64
#: outputs of this size and more are stored past the caches, which could not hold them
STREAM_BYTES = 2**23
#: neurons worth waking a thread for, and the most partial sums of a parameter's gradient
TASK_NEURONS, MAX_TASKS = 8192, 256


def _sizes(layout: Layout, state: torch.dtype, by_channel: bool) -> dict[str, int]:
    """Cut the neurons into tiles and tasks, by sizes only: sums come out the same everywhere."""
    width = max(LANES, min(WIDTH, SCRATCH_BYTES // (state.itemsize * max(1, layout.steps))))
    width -= width % LANES
    short = layout.inner < SHORT_ROW or (layout.inner % LANES and layout.inner <= width)
    if short and layout.outer > 1:
        rows = min(max(1, width // layout.inner), layout.outer)
        width, tiles = whole_lanes(rows * layout.inner), -(-layout.outer // rows)
    else:
        rows, pieces = 0, -(-layout.inner // width)
        width, tiles = whole_lanes(-(-layout.inner // pieces)), layout.outer * pieces
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


def _past_cache(layout: Layout, stored: torch.dtype) -> bool:
    """Say whether outputs are stored past the caches: large ones, whose rows begin in a line."""
    large = layout.neurons * layout.steps * stored.itemsize >= STREAM_BYTES
    return large and layout.inner >= SHORT_ROW and layout.inner % LANES == 0


# A net calls its layers with the same few shapes in every step.
@lru_cache(maxsize=1024)
def _forward(
    layout: Layout,
    stored: torch.dtype,
    state: torch.dtype,
    v_reset: float,
    reset: str,
    by_channel: bool,
    static: bool,
) -> native.Launch:
    past_cache = _past_cache(layout, stored)
    kernel = forward_kernel(STORED[stored], STATE[state], reset, by_channel, past_cache, static)
    sizes = _sizes(layout, state, by_channel)
    return native.Launch(kernel, FORWARD, {**sizes, "v_reset": v_reset})


@lru_cache(maxsize=1024)
def _backward(
    layout: Layout,
    stored: torch.dtype,
    state: torch.dtype,
    v_reset: float,
    reset: str,
    detach: bool,
    surrogate: str,
    surrogate_params: tuple[float, ...],
    by_channel: bool,
    learned: bool,
    static: bool,
) -> native.Launch:
    code = CODES[surrogate]
    # one step goes to memory of a static x, among the many that are read
    past_cache = not static and _past_cache(layout, stored)
    kernel = backward_kernel(
        STORED[stored], STATE[state], reset, detach, code, by_channel, learned, past_cache, static
    )
    sizes = _sizes(layout, state, by_channel)
    constants = zip(CONSTANTS, slope_constants(surrogate, surrogate_params), strict=True)
    return native.Launch(kernel, BACKWARD, {**sizes, "v_reset": v_reset, **dict(constants)})


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
    steps: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the scan of `reference.lif` on a dense x; return (spikes, v, count)."""
    spikes = empty_like(x) if steps is None else in_huge_pages(empty_steps(x, time_dim, steps))
    layout = Layout.of(spikes, time_dim, channel_dim)
    by_channel, params = _params(decay, gain, v_th, channels=layout.channels)
    v, count = layout.empty_step(decay.dtype), layout.empty_step(torch.float32)
    if layout.neurons:
        run = _forward(layout, x.dtype, v.dtype, v_reset, reset, by_channel, steps is not None)
        run(x, _step(v0, layout), *params, spikes, v, count)
    return spikes, v, count


def _params(*params: Tensor, channels: int) -> tuple[bool, tuple[Tensor, ...]]:
    """Return whether any parameter has one value a channel, and all in one length."""
    for p in params:
        if p.ndim:
            return True, tuple([p.expand(channels).contiguous() for p in params])
    return False, params


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
    steps: int | None,
    learned: bool,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of (x, v0, decay, gain, v_th), grad_spikes lying like the spikes.

    That of v0 is None without v0, those of the parameters are None unless `learned`.
    """
    layout = Layout.of(grad_spikes, time_dim, channel_dim)
    by_channel, params = _params(decay, gain, v_th, channels=layout.channels)
    grad_x = empty_like(x)
    grad_v0 = None if v0 is None else layout.empty_step(decay.dtype)
    run = None
    if layout.neurons:
        run = _backward(
            layout,
            x.dtype,
            decay.dtype,
            v_reset,
            reset,
            detach_reset,
            surrogate,
            tuple(surrogate_params),
            by_channel,
            learned,
            steps is not None,
        )
    sums = None
    if learned:
        groups = layout.channels if by_channel else 1
        sums = torch.zeros(run.tasks if run else 0, 3, groups, dtype=torch.float64)
    if run:
        v0, grad_v = _step(v0, layout), _step(grad_v, layout)
        run(grad_spikes, grad_v, x, v0, *params, grad_x, grad_v0, sums)
    if sums is None:
        return grad_x, grad_v0, None, None, None
    # an operator's outputs must not share memory
    of_params = [
        (total if p.ndim else total.sum()).to(p.dtype, copy=True)
        for total, p in zip(sums.sum(0), (decay, gain, v_th), strict=True)
    ]
    return grad_x, grad_v0, *of_params
