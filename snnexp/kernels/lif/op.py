"""The LIF scan as one operator of torch: autograd, autocast, torch.compile and DDP see one node.

`snnexp::lif` runs a compiled provider forward, `snnexp::lif_backward` runs its adjoint. One tensor
is saved for the backward, the input x; the membranes are computed again from it. `steps` says how
often an x of one step is shown; None: x has its own steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from snnexp.kernels.layout import empty_steps, lie_alike
from snnexp.kernels.lif.settings import Scan, learned_of
from snnexp.kernels.operator import Operator


@lru_cache
def provider_module(provider: str) -> ModuleType:
    """Import what runs a provider; each costs seconds, so only the one that is used."""
    if provider == "cpu":
        from snnexp.kernels.lif import cpu

        return cpu
    if provider == "triton":
        from snnexp.kernels.lif import triton

        return triton
    raise ValueError(f"no compiled provider {provider!r} of the LIF scan")


def _empty_spikes(x: Tensor, time_dim: int, steps: int | None) -> Tensor:
    return torch.empty_like(x) if steps is None else empty_steps(x, time_dim, steps)


def _lif(
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
    provider: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (spikes, v, count) of a dense x; see `snnexp.kernels.lif.reference`."""
    scan = Scan(
        v_reset,
        reset,
        detach_reset,
        surrogate,
        tuple(surrogate_params),
        time_dim,
        channel_dim,
        steps,
    )
    outputs: tuple[Tensor, Tensor, Tensor] = provider_module(provider).forward(
        x, v0, decay, gain, v_th, scan
    )
    return outputs


def _lif_fake(
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
    provider: str,
) -> tuple[Tensor, Tensor, Tensor]:
    step = torch.empty_like(x).select(time_dim, 0)
    return (
        _empty_spikes(x, time_dim, steps),
        torch.empty_like(step, dtype=decay.dtype),
        torch.empty_like(step, dtype=torch.float32),
    )


def _lif_backward(
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
    learned: str,
    provider: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of (x, v0, decay, gain, v_th); None where nobody asked for one."""
    like = x if steps is None else empty_steps(x.to("meta"), time_dim, steps)
    if not lie_alike(like.shape, grad_spikes.stride(), like.stride()):
        same = _empty_spikes(x, time_dim, steps)
        grad_spikes = same.copy_(grad_spikes)
    scan = Scan(
        v_reset,
        reset,
        detach_reset,
        surrogate,
        tuple(surrogate_params),
        time_dim,
        channel_dim,
        steps,
    )
    grads: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = provider_module(provider).backward(
        grad_spikes, grad_v, x, v0, decay, gain, v_th, scan, learned
    )
    return grads


def _lif_backward_fake(
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
    learned: str,
    provider: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(x),
        x.new_empty(0) if v0 is None else torch.empty_like(v0, dtype=decay.dtype),
        torch.empty_like(decay) if learned != "none" else x.new_empty(0),
        torch.empty_like(gain) if learned != "none" else x.new_empty(0),
        torch.empty_like(v_th) if learned == "all" else x.new_empty(0),
    )


lif_backward_op = Operator("lif_backward", _lif_backward, _lif_backward_fake)


class _Derivative(Function):
    """Keep the inputs for the backward, which computes the membranes again."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        x, v0, decay, gain, v_th, *ctx.settings = inputs
        spikes, v, count = lif_op(*inputs)
        ctx.save_for_backward(x, v0, decay, gain, v_th)
        ctx.mark_non_differentiable(count)
        ctx.set_materialize_grads(False)
        return spikes, v, count

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None, _: Any) -> Any:
        # Only create_graph=True runs a backward with gradients on.
        adjoint = _once if torch.is_grad_enabled() else _adjoint
        return adjoint(ctx, grad_spikes, grad_v)


def _adjoint(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None) -> Any:
    x, v0, decay, gain, v_th = ctx.saved_tensors
    needs = ctx.needs_input_grad
    if grad_spikes is None and grad_v is None:
        return (None,) * len(needs)
    *settings, provider = ctx.settings
    if grad_spikes is None:
        *_, time_dim, _, steps = settings
        grad_spikes = _empty_spikes(x, time_dim, steps).zero_()
    grads = lif_backward_op(
        grad_spikes,
        grad_v,
        x,
        v0,
        decay,
        gain,
        v_th,
        *settings,
        learned_of(*needs[2:5]),
        provider,
    )
    wanted = [g if need else None for g, need in zip(grads, needs[:5], strict=True)]
    return (*wanted, *(None,) * (len(needs) - 5))


_once = once_differentiable(_adjoint)
lif_op = Operator("lif", _lif, _lif_fake, _Derivative)
