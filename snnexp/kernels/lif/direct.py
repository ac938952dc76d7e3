"""The LIF scan on the CPU when nobody traces or watches operators: straight to the kernels.

Python and autograd take longer than the kernels of a small layer. So what shapes and settings
decide is decided once, in a plan, and a call of a known shape looks up one thing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from snnexp.kernels.layout import lie_alike, strides_are_dense
from snnexp.kernels.lif.cpu import Plan, plan
from snnexp.kernels.lif.settings import Scan, fit, learned_of


@lru_cache(maxsize=1024)
def _fitting(
    dtype: torch.dtype,
    shape: torch.Size,
    stride: tuple[int, ...],
    v0: torch.Size | None,
    decay: torch.Size,
    gain: torch.Size,
    v_th: torch.Size,
    scan: Scan,
) -> Plan | None:
    """Return the plan; None where x has gaps or overlaps."""
    fit(dtype, shape, v0, decay, gain, v_th, scan)
    if not strides_are_dense(shape, stride):
        return None
    return plan(dtype, shape, stride, bool(decay or gain or v_th), scan)


def lif(
    x: Tensor, v0: Tensor | None, decay: Tensor, gain: Tensor, v_th: Tensor, scan: Scan
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (spikes, v, count); see `snnexp.kernels.lif.lif`."""
    of = _fitting(
        x.dtype,
        x.shape,
        x.stride(),
        None if v0 is None else v0.shape,
        decay.shape,
        gain.shape,
        v_th.shape,
        scan,
    )
    if of is None:
        return lif(x.contiguous(), v0, decay, gain, v_th, scan)
    # asking costs less than calling `to`
    if not decay.dtype == gain.dtype == v_th.dtype == of.state:
        decay, gain, v_th = decay.to(of.state), gain.to(of.state), v_th.to(of.state)
    if v0 is not None:
        v0 = v0.to(of.state)
    if torch.is_grad_enabled() and (
        x.requires_grad
        or decay.requires_grad
        or gain.requires_grad
        or v_th.requires_grad
        or (v0 is not None and v0.requires_grad)
    ):
        outputs: tuple[Tensor, Tensor, Tensor] = _Derivative.apply(x, v0, decay, gain, v_th, of)
        return outputs
    return of.forward(x, v0, decay, gain, v_th)


class _Derivative(Function):
    """Keep the inputs for the backward, which computes the membranes again."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        v0: Tensor | None,
        decay: Tensor,
        gain: Tensor,
        v_th: Tensor,
        of: Plan,
    ) -> tuple[Tensor, Tensor, Tensor]:
        outputs = of.forward(x, v0, decay, gain, v_th)
        ctx.save_for_backward(x, v0, decay, gain, v_th)
        ctx.of = of
        ctx.mark_non_differentiable(outputs[2])
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None, _: Any) -> Any:
        # Only create_graph=True runs a backward with gradients on.
        adjoint = _once if torch.is_grad_enabled() else _adjoint
        return adjoint(ctx, grad_spikes, grad_v)


def _adjoint(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None) -> Any:
    of: Plan = ctx.of
    x, v0, decay, gain, v_th = ctx.saved_tensors
    if grad_spikes is None:
        if grad_v is None:
            return (None,) * 6
        grad_spikes = of.empty_spikes(x).zero_()
    elif not lie_alike(of.shape, grad_spikes.stride(), of.stride):
        grad_spikes = of.empty_spikes(x).copy_(grad_spikes)
    learned = learned_of(*ctx.needs_input_grad[2:5])
    return *of.backward(grad_spikes, grad_v, x, v0, decay, gain, v_th, learned), None


_once = once_differentiable(_adjoint)
