"""The fused LIF scan: one function, three providers (`reference`, `cpu`, `triton`)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend
from snnexp.kernels.layout import is_dense
from snnexp.kernels.lif import reference
from snnexp.surrogates import Surrogate

Reset = Literal["hard", "soft", "none"]
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class LIFOutput(NamedTuple):
    """`spikes` has the shape of x; `v` and `count` lack its time axis."""

    spikes: Tensor
    v: Tensor
    count: Tensor  # type: ignore[assignment] # the field's name hides tuple.count


def lif(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    *,
    v_reset: float,
    reset: Reset,
    detach_reset: bool,
    surrogate: Surrogate,
    time_dim: int,
    channel_dim: int,
    backend: Backend,
) -> LIFOutput:
    """Run a layer of LIF neurons over the whole sequence x."""
    state = torch.float64 if x.dtype == torch.float64 else torch.float32
    return LIFOutput(
        *reference.lif(
            x if is_dense(x) else x.contiguous(),
            v0,
            decay.to(state),
            gain.to(state),
            v_th.to(state),
            v_reset=v_reset,
            reset=reset,
            detach_reset=detach_reset,
            surrogate=surrogate,
            time_dim=time_dim,
            channel_dim=channel_dim,
        )
    )
