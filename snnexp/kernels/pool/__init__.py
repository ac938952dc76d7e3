"""Max pooling that keeps one byte an output for the backward.

torch keeps the whole input and an int64 for each output. Behind neurons that is most of what such a
layer costs: nothing else keeps their spikes. Here the place of the largest number in its window is
kept, r k + s of row r and column s; the gradient needs no more.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from snnexp.kernels.pool.op import pool_op

#: positions of a window that a byte can tell apart
MOST_POSITIONS = 256


def max_pool(x_BCHW: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return `F.max_pool2d(x, kernel, stride, padding)`: outputs and gradients are torch's.

    On a CPU the result lies channels last; on other devices this is torch's function. Raises
    ValueError for a window that is empty, larger than the padded input, or mostly padding.
    """
    if x_BCHW.device.type != "cpu":
        return F.max_pool2d(x_BCHW, kernel, stride, padding)
    if not 1 <= kernel**2 <= MOST_POSITIONS or stride < 1 or not 0 <= 2 * padding <= kernel:
        raise ValueError(
            f"kernel={kernel}, stride={stride}, padding={padding}: expected a kernel from 1 to "
            f"{int(MOST_POSITIONS**0.5)}, a stride of at least 1, a padding of at most half the "
            "kernel"
        )
    if min(x_BCHW.shape[2:]) + 2 * padding < kernel:
        raise ValueError(
            f"x has shape {tuple(x_BCHW.shape)}, too small for windows of {kernel} x {kernel} "
            f"with padding {padding}"
        )
    out: Tensor = pool_op(x_BCHW, kernel, stride, padding)[0]
    return out
