"""The LIF scan on CUDA: layouts, outputs and launches around `triton_kernels`."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from snnexp.kernels.layout import Layout, empty_steps
from snnexp.kernels.lif.settings import Learned, Scan
from snnexp.kernels.lif.triton_kernels import backward_kernel, forward_kernel
from snnexp.kernels.slopes import slope_constants

STATE = {torch.float32: tl.float32, torch.float64: tl.float64}
#: what a thread reads or writes at once, at most
ACCESS_BYTES = 16
WARPS = 4
THREADS = 32 * WARPS
#: the most steps that the backward keeps at once, and the most words it keeps for them a thread
MAX_STEPS, MAX_KEPT = 16, 96
#: addresses below this fit in 32 bits, with which a thread needs fewer registers
INT32_REACH = 2**31
#: rounded as written, like the reference: no fused multiply-add
OPTIONS: dict[str, Any] = {"num_warps": WARPS, "enable_fp_fusion": False}


class Tile(NamedTuple):
    """Neurons of a program, the steps its backward keeps, a power of two that divides I."""

    block: int
    steps: int
    vec: int


def aligned(inner: int) -> int:
    """Return the power of two, at most 8, that divides I."""
    return inner & -inner & 7 or 8


def forward_tile(inner: int, itemsize: int) -> Tile:
    """Return the tile of a scan: as many neurons a thread as it reads at once."""
    vec = aligned(inner)
    return Tile(THREADS * min(vec, ACCESS_BYTES // itemsize), 1, vec)


def backward_tile(inner: int, itemsize: int, steps: int, learned: bool) -> Tile:
    """Return the tile of an adjoint: as many neurons a thread as registers hold.

    A thread keeps h of each neuron and step, and x too where parameters are learned: in a word of
    its own, 16 bits of it too. A static x leaves that room, but with four sums and all neurons of
    an access a thread would spill.
    """
    kept = min(triton.next_power_of_2(max(1, steps)), MAX_STEPS)
    words = kept * max(4, itemsize) * (2 if learned else 1) / 4
    vec = aligned(inner)
    fitting = 2 ** int(math.log2(MAX_KEPT / words))
    return Tile(THREADS * min(vec, ACCESS_BYTES // itemsize, fitting), kept, vec)


def _sizes(layout: Layout, tile: Tile, state: torch.dtype) -> dict[str, Any]:
    """Return what both kernels must know of the layout."""
    # no address of a program, its neurons that do not exist included, may overflow
    reach = (layout.neurons + tile.block) * layout.steps
    return {
        "steps": layout.steps,
        "outer": layout.outer,
        "units": layout.inner // tile.vec,
        "below": layout.below,
        "channels": layout.channels,
        "SINGLE": layout.outer == 1,
        "VEC": tile.vec,
        "BLOCK": tile.block,
        "STATE": STATE[state],
        "INDEX": tl.int32 if reach < INT32_REACH else tl.int64,
    }


def _step(v: Tensor | None, layout: Layout) -> Tensor | None:
    """Return one step's values with the neurons in the order of memory."""
    return None if v is None else layout.to_step(v).contiguous()


def _by_channel(decay: Tensor, gain: Tensor, v_th: Tensor) -> dict[str, bool]:
    return {"DECAY_C": decay.ndim > 0, "GAIN_C": gain.ndim > 0, "TH_C": v_th.ndim > 0}


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Make launches go to the device of the tensors; the interpreter has none."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def forward(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    scan: Scan,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the scan of `reference.lif` on a dense x; return (spikes, v, count)."""
    spikes = empty_steps(x, scan.time_dim, scan.steps) if scan.steps else torch.empty_like(x)
    layout = Layout.of(spikes, scan.time_dim, scan.channel_dim)
    v = torch.empty(layout.neurons, dtype=decay.dtype, device=x.device)
    count = torch.empty(layout.neurons, dtype=torch.float32, device=x.device)
    if layout.neurons:
        tile = forward_tile(layout.inner, x.itemsize)
        with _on(x.device):
            forward_kernel[(triton.cdiv(layout.neurons, tile.block),)](
                x,
                _step(v0, layout),
                decay.contiguous(),
                gain.contiguous(),
                v_th.contiguous(),
                spikes,
                v,
                count,
                v_reset=scan.v_reset,
                RESET=scan.reset,
                STATIC=scan.steps is not None,
                **_by_channel(decay, gain, v_th),
                **_sizes(layout, tile, decay.dtype),
                **OPTIONS,
            )
    return spikes, layout.from_step(v), layout.from_step(count)


def backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    scan: Scan,
    learned: Learned,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of (x, v0, decay, gain, v_th), grad_spikes lying like the spikes.

    That of v0 is None without v0, those of parameters that are not `learned` are None.
    """
    layout = Layout.of(grad_spikes, scan.time_dim, scan.channel_dim)
    some = learned != "none"
    tile = backward_tile(layout.inner, x.itemsize, layout.steps, some)
    params = (decay, gain, v_th)

    def neurons(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=decay.dtype, device=x.device)

    grad_x = torch.empty_like(x)
    grad_v0 = None if v0 is None else neurons(layout.neurons)
    pieces = triton.cdiv(layout.steps, tile.steps)
    kept = neurons(pieces - 1, layout.neurons) if pieces > 1 else None
    # neighbours of one channel that one program may add: a power of two that divides L
    group = min(tile.block, layout.below & -layout.below) if layout.neurons else 1
    groups = [group if p.ndim else tile.block for p in params]
    sums = [neurons(triton.cdiv(layout.neurons, g)) if some else None for g in groups]
    if layout.neurons:
        constants = slope_constants(scan.surrogate, scan.surrogate_params)
        with _on(x.device):
            backward_kernel[(triton.cdiv(layout.neurons, tile.block),)](
                grad_spikes,
                _step(grad_v, layout),
                x,
                _step(v0, layout),
                decay.contiguous(),
                gain.contiguous(),
                v_th.contiguous(),
                grad_x,
                grad_v0,
                kept,
                *sums,
                v_reset=scan.v_reset,
                **{f"c{i}": c for i, c in enumerate(constants)},
                RESET=scan.reset,
                DETACH=scan.detach_reset,
                SURROGATE=scan.surrogate,
                GROUP=group,
                STEPS=tile.steps,
                STATIC=scan.steps is not None,
                **_by_channel(*params),
                **_sizes(layout, tile, decay.dtype),
                **OPTIONS,
            )
    of_v0 = None if grad_v0 is None else layout.from_step(grad_v0)
    of_params = [
        None if partial is None else _total(partial, p, layout)
        for partial, p in zip(sums, params, strict=True)
    ]
    of_th = of_params[2] if learned == "all" else None
    return grad_x, of_v0, of_params[0], of_params[1], of_th


def _total(partial: Tensor, p: Tensor, layout: Layout) -> Tensor:
    """Add partial sums, in double precision and in the same order each time."""
    if p.ndim and partial.numel():
        partial = partial.view(layout.above, layout.channels, -1)
        return partial.sum((0, 2), dtype=torch.float64).to(p.dtype)
    return partial.sum(dtype=torch.float64).to(p.dtype).expand_as(p)
