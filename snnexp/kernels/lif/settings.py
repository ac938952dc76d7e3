"""What a scan is told besides its tensors, and what of it fits together."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from snnexp.kernels.layout import check_steps

Reset = Literal["hard", "soft", "none"]
#: of which parameters a backward needs the gradients; those of v_th cost extra
Learned = Literal["none", "decay_gain", "all"]
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Scan(NamedTuple):
    """The settings of a scan, in the order in which the operator takes them."""

    v_reset: float
    reset: str
    detach_reset: bool
    surrogate: str
    surrogate_params: tuple[float, ...]
    time_dim: int
    channel_dim: int
    steps: int | None


def learned_of(decay: bool, gain: bool, v_th: bool) -> Learned:
    """Return what covers the parameters whose gradients are needed."""
    if v_th:
        return "all"
    return "decay_gain" if decay or gain else "none"


def fit(
    dtype: torch.dtype,
    shape: tuple[int, ...],
    v0: tuple[int, ...] | None,
    decay: tuple[int, ...],
    gain: tuple[int, ...],
    v_th: tuple[int, ...],
    scan: Scan,
) -> None:
    """Raise ValueError or TypeError for shapes and settings that a scan cannot take."""
    time_dim, channel_dim = scan.time_dim, scan.channel_dim
    if dtype not in DTYPES:
        raise TypeError(f"x has dtype {dtype}, expected one of {', '.join(map(str, DTYPES))}")
    if scan.reset not in get_args(Reset):
        raise ValueError(f"reset={scan.reset!r}, expected one of {', '.join(get_args(Reset))}")
    if time_dim % len(shape) == channel_dim % len(shape):
        raise ValueError(f"time_dim and channel_dim both name axis {time_dim} of {tuple(shape)}")
    channels = shape[channel_dim]
    for name, p in zip(("decay", "gain", "v_th"), (decay, gain, v_th), strict=True):
        if len(p) and p != (channels,):
            raise ValueError(
                f"{name} has shape {tuple(p)}, expected () or ({channels},): axis "
                f"{channel_dim} of x {tuple(shape)} holds the channels"
            )
    step = [n for axis, n in enumerate(shape) if axis != time_dim % len(shape)]
    if v0 is not None and list(v0) != step:
        raise ValueError(f"v0 has shape {list(v0)}, expected {step}: x without time")
    if scan.steps is not None:
        check_steps(shape, time_dim, scan.steps)


# What fitted once fits again. torch.compile traces no cache.
_known_fit = lru_cache(maxsize=1024)(fit)


def check(
    x: Tensor, v0: Tensor | None, decay: Tensor, gain: Tensor, v_th: Tensor, scan: Scan
) -> None:
    """Raise ValueError or TypeError for what a scan cannot take."""
    of = fit if torch.compiler.is_compiling() else _known_fit
    of_v0 = None if v0 is None else v0.shape
    of(x.dtype, x.shape, of_v0, decay.shape, gain.shape, v_th.shape, scan)
