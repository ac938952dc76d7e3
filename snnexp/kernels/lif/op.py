"""The LIF scan as one operator of torch: autograd, autocast, torch.compile and DDP see one node.

`snnexp::lif` runs a compiled provider forward, `snnexp::lif_backward` runs its adjoint. One tensor
is saved for the backward, the input x; the membranes are computed again from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def provider_module(provider: str) -> ModuleType:
    """Import what runs a provider; each costs seconds, so only the one that is used."""
    if provider == "cpu":
        from snnexp.kernels.lif import cpu

        return cpu
    if provider == "triton":
        from snnexp.kernels.lif import triton

        return triton
    raise ValueError(f"no compiled provider {provider!r} of the LIF scan")


@torch.library.custom_op("snnexp::lif", mutates_args=())
def lif_op(
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
    provider: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (spikes, v, count) of a dense x; see `snnexp.kernels.lif.reference`."""
    spikes, v, count = provider_module(provider).forward(
        x, v0, decay, gain, v_th, v_reset, reset, time_dim, channel_dim
    )
    return spikes, v, count


@lif_op.register_fake
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
    provider: str,
) -> tuple[Tensor, Tensor, Tensor]:
    step = torch.empty_like(x).select(time_dim, 0)
    return (
        torch.empty_like(x),
        torch.empty_like(step, dtype=decay.dtype),
        torch.empty_like(step, dtype=torch.float32),
    )


@torch.library.custom_op("snnexp::lif_backward", mutates_args=())
def lif_backward_op(
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
    provider: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of (x, v0, decay, gain, v_th); empty where nobody asked for one."""
    if grad_spikes.stride() != x.stride():
        same = torch.empty_like(x)
        grad_spikes = same.copy_(grad_spikes)
    grad_x, grad_v0, *of_params = provider_module(provider).backward(
        grad_spikes,
        grad_v,
        x,
        v0,
        decay,
        gain,
        v_th,
        v_reset,
        reset,
        detach_reset,
        surrogate,
        surrogate_params,
        time_dim,
        channel_dim,
        learned,
    )
    # an operator's outputs must not share memory: the providers cut these from one small array
    grad_decay, grad_gain, grad_v_th = (g.clone() for g in of_params)
    return grad_x, grad_v0.clone() if v0 is None else grad_v0, grad_decay, grad_gain, grad_v_th


@lif_backward_op.register_fake
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
    learned: bool,
    provider: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(x),
        decay.new_empty(0) if v0 is None else torch.empty_like(v0, dtype=decay.dtype),
        torch.empty_like(decay) if learned else decay.new_empty(0),
        torch.empty_like(gain) if learned else decay.new_empty(0),
        torch.empty_like(v_th) if learned else decay.new_empty(0),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, v0, decay, gain, v_th, *ctx.settings = inputs
    ctx.save_for_backward(x, v0, decay, gain, v_th)
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None, _: Any) -> Any:
    x, v0, decay, gain, v_th = ctx.saved_tensors
    needs = ctx.needs_input_grad
    if grad_spikes is None and grad_v is None:
        return (None,) * len(needs)
    *settings, provider = ctx.settings
    grads = lif_backward_op(
        torch.zeros_like(x) if grad_spikes is None else grad_spikes,
        grad_v,
        x,
        v0,
        decay,
        gain,
        v_th,
        *settings,
        any(needs[2:5]),
        provider,
    )
    wanted = [g if need else None for g, need in zip(grads, needs[:5], strict=True)]
    return (*wanted, *(None,) * (len(needs) - 5))


lif_op.register_autograd(_backward, setup_context=_setup)
