"""The scan with lateral reset as one operator of torch, as `snnexp.kernels.lif.op` does it.

`snnexp::lateral` runs the `cpu` provider forward, `snnexp::lateral_backward` runs its adjoint. One
tensor of a layer's size is saved for the backward, the input x.
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

from snnexp.kernels.operator import Operator


@lru_cache
def _provider() -> ModuleType:
    """Import the kernels, which costs a second, when the first layer needs them."""
    from snnexp.kernels.lateral import cpu

    return cpu


def _lateral(
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
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (spikes, v, count) of a dense x; see `snnexp.kernels.lateral.reference`."""
    outputs: tuple[Tensor, Tensor, Tensor] = _provider().forward(
        x, v0, decay, gain, v_th, reset_CC, time_dim, channel_dim
    )
    return outputs


def _lateral_fake(
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
) -> tuple[Tensor, Tensor, Tensor]:
    step = torch.empty_like(x).select(time_dim, 0)
    return (
        torch.empty_like(x),
        torch.empty_like(step, dtype=decay.dtype),
        torch.empty_like(step, dtype=torch.float32),
    )


def _lateral_backward(
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
    """Return the gradients of (x, v0, decay, gain, v_th, reset_CC); that of no v0 is None."""
    if grad_spikes.stride() != x.stride():
        same = torch.empty_like(x)
        grad_spikes = same.copy_(grad_spikes)
    grads: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor] = _provider().backward(
        grad_spikes,
        grad_v,
        x,
        v0,
        decay,
        gain,
        v_th,
        reset_CC,
        detach_reset,
        surrogate,
        surrogate_params,
        time_dim,
        channel_dim,
    )
    return grads


def _lateral_backward_fake(
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
    return (
        torch.empty_like(x),
        x.new_empty(0) if v0 is None else torch.empty_like(v0, dtype=decay.dtype),
        torch.empty_like(decay),
        torch.empty_like(gain),
        torch.empty_like(v_th),
        reset_CC.new_empty(reset_CC.shape),
    )


lateral_backward_op = Operator("lateral_backward", _lateral_backward, _lateral_backward_fake)


class _Derivative(Function):
    """Keep the inputs for the backward, which computes the membranes again."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        ctx.settings = inputs[6:]
        spikes, v, count = lateral_op(*inputs)
        ctx.save_for_backward(*inputs[:6])
        ctx.mark_non_differentiable(count)
        ctx.set_materialize_grads(False)
        return spikes, v, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None, _: Any) -> Any:
        needs = ctx.needs_input_grad
        if grad_spikes is None and grad_v is None:
            return (None,) * len(needs)
        x, *params = ctx.saved_tensors
        given = torch.zeros_like(x) if grad_spikes is None else grad_spikes
        grads = lateral_backward_op(given, grad_v, x, *params, *ctx.settings)
        wanted = [g if need else None for g, need in zip(grads, needs[:6], strict=True)]
        return (*wanted, *(None,) * (len(needs) - 6))


lateral_op = Operator("lateral", _lateral, _lateral_fake, _Derivative)
