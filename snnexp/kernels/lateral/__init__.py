"""The LIF scan with lateral reset: a spike resets all channels at its place."""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend, BackendError
from snnexp.kernels.lateral import reference
from snnexp.kernels.layout import is_dense
from snnexp.kernels.lif import LIFOutput
from snnexp.surrogates import Surrogate


def lateral(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    reset_CC: Tensor,
    *,
    detach_reset: bool,
    surrogate: Surrogate,
    time_dim: int,
    channel_dim: int,
    backend: Backend,
) -> LIFOutput:
    """Run a layer of neurons with lateral reset over the whole sequence x."""
    if backend not in ("auto", "reference"):
        raise BackendError(
            f"backend={backend} was asked for, but the lateral reset runs as a plain torch loop "
            "only; use backend=auto or reference, or neuron@model.neuron=s2lif"
        )
    state = torch.float64 if x.dtype == torch.float64 else torch.float32
    out = reference.lateral(
        x if is_dense(x) else x.contiguous(),
        v0,
        decay.to(state),
        gain.to(state),
        v_th.to(state),
        reset_CC.to(state),
        detach_reset=detach_reset,
        surrogate=surrogate,
        time_dim=time_dim,
        channel_dim=channel_dim,
    )
    return LIFOutput(*out)
