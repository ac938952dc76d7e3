"""Convolution behind a nearest-neighbour enlargement, with its products at the smaller size.

Letters: B batch, C channel, h w of the input, H W of the output, k kernel size, K output channel,
N = k k K: all taps of all output channels.

A convolution without padding of x enlarged to [H + k - 1, W + k - 1] is

    out[p] = sum_t W_t x[near(p + t)],    t over the k k taps                              (1)

where near(q) is the pixel of x that pixel q of the enlarged one copies. Enlarging copies, so it
commutes with mixing channels:

    z_t = W_t x,    out[p] = sum_t z_t[near(p + t)]                                        (2)

The same sum in another order: (1) multiplies at H W places, (2) at h w of them, a fourth if both
sides double, and what is kept for the backward is x, not the enlarged x.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from snnexp.kernels.taps.op import sum_op


def enlarge(x: Tensor, size: tuple[int, int], kernel: int) -> Tensor:
    """Resize [B, C, h, w] to `size` plus the border that a convolution without padding takes."""
    return F.interpolate(x, (size[0] + kernel - 1, size[1] + kernel - 1), mode="nearest")


#: products that are there at once, if some output channels at a time can be had for it
MOST_BYTES = 2**25
#: output channels of whole vectors
WHOLE = 16


def conv_enlarged(x_BChw: Tensor, weight_KCkk: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [B, K, H, W] of (1), `size` = (H, W), in the order of (2).

    Some output channels are made after others where all their products would be large: z is k k
    times the output at the smaller size, and so is its gradient.
    """
    if x_BChw.device.type == "cpu":
        x_BChw = x_BChw.contiguous(memory_format=torch.channels_last)
    kernel = weight_KCkk.shape[-1]
    outputs = [
        sum_taps(F.conv2d(x_BChw, _taps(part)), kernel, size)
        for part in weight_KCkk.split(_channels_at_once(x_BChw, weight_KCkk))
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)


def _taps(weight_KCkk: Tensor) -> Tensor:
    """Return the weight [k k K, C, 1, 1] of the convolution that makes z."""
    return weight_KCkk.permute(2, 3, 0, 1).flatten(0, 2)[:, :, None, None]


def _channels_at_once(x_BChw: Tensor, weight_KCkk: Tensor) -> int:
    """Return how many output channels have their products made together."""
    channels, inputs, high, across = weight_KCkk.shape
    products = x_BChw.numel() // inputs * high * across * channels * x_BChw.itemsize
    parts = max(1, min(-(-products // MOST_BYTES), channels // WHOLE))
    return -(-channels // (parts * WHOLE)) * WHOLE


def sum_taps(z_BNhw: Tensor, kernel: int, size: tuple[int, int]) -> Tensor:
    """Return the sum in (2), [B, K, H, W], of z [B, k k K, h, w], taps outermost."""
    if z_BNhw.device.type == "cpu" and z_BNhw.dtype in (torch.float32, torch.float64):
        return sum_op(z_BNhw, kernel, *size)
    return reference(z_BNhw, kernel, size)


def reference(z_BNhw: Tensor, kernel: int, size: tuple[int, int]) -> Tensor:
    """Return `sum_taps` by torch's operations, on any device."""
    # fold adds what it finds at tap t of position q to q + t - (k - 1): flip to read q - t
    by_tap = enlarge(z_BNhw, size, kernel).unflatten(1, (kernel * kernel, -1)).flip(1)
    columns = by_tap.transpose(1, 2).flatten(1, 2).flatten(2)
    return F.fold(columns, size, kernel, padding=kernel - 1)
