"""The LIF scan with lateral reset: a spike resets all channels at its place."""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend, BackendError, Provider, resolve
from snnexp.kernels.lateral import reference
from snnexp.kernels.lateral.op import lateral_op
from snnexp.kernels.layout import is_dense
from snnexp.kernels.lif import LIFOutput
from snnexp.kernels.lif.settings import Scan, check
from snnexp.surrogates import Surrogate


def provider(backend: Backend, device: torch.device) -> Provider:
    """Return what runs the scan for tensors of `device`: Numba on the CPU, else the plain loop.

    Raises BackendError where a backend asked for by name cannot run it.
    """
    if backend == "triton":
        raise BackendError(
            "backend=triton was asked for, but the lateral reset has no Triton kernel; use "
            "backend=auto or reference, or neuron@model.neuron=s2lif"
        )
    if backend == "auto" and device.type != "cpu":
        return "reference"
    return resolve(backend, device)


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
    """Run a layer of neurons with lateral reset over the whole sequence x.

    Equations and shapes are those of `reference`; the rest is as for `snnexp.kernels.lif.lif`.
    Raises ValueError or TypeError for what does not fit, BackendError where `backend` cannot run.
    """
    scan = Scan(
        0.0, "soft", detach_reset, surrogate.name, surrogate.params, time_dim, channel_dim, None
    )
    check(x, v0, decay, gain, v_th, scan)
    channels = x.shape[channel_dim]
    if reset_CC.shape != (channels, channels):
        raise ValueError(
            f"reset_CC has shape {tuple(reset_CC.shape)}, expected ({channels}, {channels}): axis "
            f"{channel_dim} of x {tuple(x.shape)} holds the channels"
        )
    state = torch.float64 if x.dtype == torch.float64 else torch.float32
    x = x if is_dense(x) else x.contiguous()
    decay, gain, v_th, reset_CC = (p.to(state) for p in (decay, gain, v_th, reset_CC))
    v0 = None if v0 is None else v0.to(state)
    if provider(backend, x.device) == "reference":
        return LIFOutput(
            *reference.lateral(
                x,
                v0,
                decay,
                gain,
                v_th,
                reset_CC,
                detach_reset=detach_reset,
                surrogate=surrogate,
                time_dim=time_dim,
                channel_dim=channel_dim,
            )
        )
    return LIFOutput(
        *lateral_op(
            x,
            v0,
            decay,
            gain,
            v_th,
            reset_CC,
            detach_reset,
            surrogate.name,
            surrogate.params,
            time_dim,
            channel_dim,
        )
    )
