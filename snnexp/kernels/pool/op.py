"""Max pooling and its adjoint as operators of torch, on the CPU; see `snnexp.kernels.pool`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from snnexp.kernels.operator import Operator


def _pool(x: Tensor, kernel: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Return (largest numbers, their positions in the windows) of x [B, C, H, W]."""
    from snnexp.kernels.pool import cpu

    x = x.contiguous(memory_format=torch.channels_last)
    out, position = _pool_fake(x, kernel, stride, padding)
    cpu.pool(x, out, position, kernel, stride, padding)
    return out, position


def _pool_fake(x: Tensor, kernel: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    shape = *x.shape[:2], *((n + 2 * padding - kernel) // stride + 1 for n in x.shape[2:])
    return _empty(x, shape, x.dtype), _empty(x, shape, torch.uint8)


def _unpool(
    grad: Tensor, position: Tensor, kernel: int, stride: int, padding: int, high: int, across: int
) -> Tensor:
    """Return the gradient of x [B, C, high, across] for that of the output."""
    from snnexp.kernels.pool import cpu

    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x = _unpool_fake(grad, position, kernel, stride, padding, high, across)
    cpu.unpool(grad, position, grad_x, kernel, stride, padding)
    return grad_x


def _unpool_fake(
    grad: Tensor, position: Tensor, kernel: int, stride: int, padding: int, high: int, across: int
) -> Tensor:
    return _empty(grad, (*grad.shape[:2], high, across), grad.dtype)


def _empty(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


class _Pool(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: int, stride: int, padding: int
    ) -> tuple[Tensor, Tensor]:
        out, position = pool_op(x, kernel, stride, padding)
        ctx.window, ctx.size = (kernel, stride, padding), tuple(x.shape[2:])
        ctx.save_for_backward(position)
        ctx.mark_non_differentiable(position)
        return out, position

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
        (position,) = ctx.saved_tensors
        return unpool_op(grad, position, *ctx.window, *ctx.size), None, None, None


unpool_op = Operator("max_unpool", _unpool, _unpool_fake)
pool_op = Operator("max_pool", _pool, _pool_fake, _Pool)
