"""The `cpu` provider of the lateral reset: torch tensors in, Numba kernels, torch tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from snnexp.kernels import native
from snnexp.kernels.allocator import empty_like
from snnexp.kernels.lateral.cpu_kernels import NUMBERS, RECORD, backward_kernel, forward_kernel
from snnexp.kernels.layout import Layout
from snnexp.kernels.lif.cpu import STATE, STORED
from snnexp.kernels.slopes import CODES, slope_constants

#: the membranes of all steps of a tile stay in a core's cache
SCRATCH_BYTES = 2**18
#: places that share a cache line where channels are not side by side
LINE = 16
#: neurons worth waking a thread for, most tasks, and most numbers in their sums of the matrix
TASK_NEURONS, MAX_TASKS, MAX_SUMS = 4096, 64, 2**22


# A net calls its layers with the same few shapes in every step.
@lru_cache(maxsize=1024)
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


def _step(v: Tensor | None, layout: Layout) -> Tensor | None:
    """Return one step's values with the neurons in the order of memory."""
    return None if v is None else layout.to_step(v).contiguous()


def _given(
    decay: Tensor, gain: Tensor, v_th: Tensor, reset_CC: Tensor, channels: int
) -> dict[str, Tensor]:
    """Return the parameters with one value a channel, and D row by row and column by column."""
    params = (p.expand(channels).contiguous() for p in (decay, gain, v_th))
    given = dict(zip(("decay", "gain", "v_th"), params, strict=True))
    return given | {"reset": reset_CC.contiguous(), "reset_t": reset_CC.T.contiguous()}


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
    v = torch.empty(layout.neurons, dtype=decay.dtype)
    count = torch.empty(layout.neurons, dtype=torch.float32)
    if layout.neurons:
        sizes, v0 = _sizes(layout, v.itemsize), _step(v0, layout)
        params = _given(decay, gain, v_th, reset_CC, layout.channels)
        outputs = {"s": spikes, "v": v, "count": count}
        arguments = RECORD.fill({"x": x, "v0": v0, **outputs, **params, **sizes})
        kernel = forward_kernel(STORED[x.dtype], STATE[v.dtype])
        native.run(kernel, arguments, sizes["tasks"])
    return spikes, layout.from_step(v), layout.from_step(count)


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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of (x, v0, decay, gain, v_th, reset_CC).

    grad_spikes lies in memory like x. The gradient of v0 is empty without v0.
    """
    layout = Layout.of(x, time_dim, channel_dim)
    channels = layout.channels
    sizes = _sizes(layout, decay.itemsize) if layout.neurons else {"tasks": 0}
    grad_x = empty_like(x)
    grad_v0 = None if v0 is None else torch.empty(layout.neurons, dtype=decay.dtype)
    sums = torch.zeros(sizes["tasks"], 3, channels, dtype=torch.float64)
    sums_reset = torch.zeros(sizes["tasks"], channels, channels, dtype=torch.float64)
    if layout.neurons:
        v0, grad_v = _step(v0, layout), _step(grad_v, layout)
        params = _given(decay, gain, v_th, reset_CC, channels)
        given = {"x": x, "v0": v0, "grad_s": grad_spikes, "grad_v": grad_v}
        outputs = {"grad_x": grad_x, "grad_v0": grad_v0, "sums": sums, "sums_reset": sums_reset}
        constants = dict(zip(NUMBERS, slope_constants(surrogate, surrogate_params), strict=True))
        arguments = RECORD.fill({**given, **outputs, **constants, **params, **sizes})
        kernel = backward_kernel(
            STORED[x.dtype], STATE[decay.dtype], detach_reset, CODES[surrogate]
        )
        native.run(kernel, arguments, sizes["tasks"])
    # an operator's outputs must not share memory
    of_decay, of_gain, of_th = (
        (sums[:, i].sum(0) if p.ndim else sums[:, i].sum()).to(p.dtype)
        for i, p in enumerate((decay, gain, v_th))
    )
    of_reset = sums_reset.sum(0).T.contiguous().to(decay.dtype)
    of_v0 = decay.new_empty(0) if grad_v0 is None else layout.from_step(grad_v0)
    return grad_x, of_v0, of_decay, of_gain, of_th, of_reset
