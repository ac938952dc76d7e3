"""The sum over taps and its adjoint as operators of torch; see `snnexp.kernels.taps`.

Both run on the CPU, in float32 and float64, and return channels last.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from snnexp.kernels.operator import Operator


def _sum(z: Tensor, kernel: int, high: int, across: int) -> Tensor:
    """Return [B, K, H, W] of z [B, k k K, h, w]."""
    from snnexp.kernels.taps import cpu

    z = z.contiguous(memory_format=torch.channels_last)
    out = _sum_fake(z, kernel, high, across)
    cpu.sum_taps(z, out, kernel)
    return out


def _sum_fake(z: Tensor, kernel: int, high: int, across: int) -> Tensor:
    return _empty(z, z.shape[0], z.shape[1] // kernel**2, high, across)


def _spread(grad: Tensor, kernel: int, low: int, low_across: int) -> Tensor:
    """Return the gradient of z for that of the output."""
    from snnexp.kernels.taps import cpu

    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_z = _spread_fake(grad, kernel, low, low_across)
    cpu.spread_taps(grad, grad_z, kernel)
    return grad_z


def _spread_fake(grad: Tensor, kernel: int, low: int, low_across: int) -> Tensor:
    return _empty(grad, grad.shape[0], grad.shape[1] * kernel**2, low, low_across)


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, kernel: int, high: int, across: int) -> Tensor:
        ctx.kernel, ctx.low = kernel, tuple(z.shape[2:])
        out: Tensor = sum_op(z, kernel, high, across)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return spread_op(grad, ctx.kernel, *ctx.low), None, None, None


class _Spread(Function):
    """The sum is linear, so that the gradient of its gradient is the sum again."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, kernel: int, low: int, low_across: int) -> Tensor:
        ctx.kernel, ctx.high = kernel, tuple(grad.shape[2:])
        out: Tensor = spread_op(grad, kernel, low, low_across)
        return out

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor) -> Any:
        return sum_op(grad_z, ctx.kernel, *ctx.high), None, None, None


sum_op = Operator("sum_taps", _sum, _sum_fake, _Sum)
spread_op = Operator("spread_taps", _spread, _spread_fake, _Spread)
