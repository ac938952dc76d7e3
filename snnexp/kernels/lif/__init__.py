"""The fused LIF scan: one function, three providers (`reference`, `cpu`, `triton`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend, resolve
from snnexp.kernels.layout import check_steps, is_dense
from snnexp.kernels.lif import reference
from snnexp.kernels.lif.op import lif_op
from snnexp.surrogates import Surrogate

Reset = Literal["hard", "soft", "none"]
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class LIFOutput(NamedTuple):
    """`spikes` has the shape of x, all steps of it; `v` and `count` lack its time axis."""

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
    steps: int | None = None,
) -> LIFOutput:
    """Run a layer of LIF neurons over the whole sequence x; the equations are `reference`'s.

    decay, gain, v_th: 0-d, or one value for each of the channels of x. v0: the membrane before the
    first step, of the shape of x without its time axis. State and arithmetic are float32, float64
    for float64 input. Spikes lie in memory like x; an x with gaps or overlaps is copied first.

    With `steps`, x has one step, which is the input of each of that many steps and is not copied
    for it. Spikes then have that many steps, time outermost in memory, each step lying like x.

    Raises ValueError or TypeError for what does not fit, BackendError where `backend` cannot run.
    """
    check(x, v0, (decay, gain, v_th), reset, time_dim, channel_dim)
    if steps is not None:
        check_steps(x.shape, time_dim, steps)
    state = torch.float64 if x.dtype == torch.float64 else torch.float32
    x = x if is_dense(x) else x.contiguous()
    # asking costs less than calling `to`
    if not decay.dtype == gain.dtype == v_th.dtype == state:
        decay, gain, v_th = decay.to(state), gain.to(state), v_th.to(state)
    v0 = None if v0 is None else v0.to(state)
    provider = resolve(backend, x.device)
    if provider == "reference":
        return LIFOutput(
            *reference.lif(
                x,
                v0,
                decay,
                gain,
                v_th,
                v_reset=v_reset,
                reset=reset,
                detach_reset=detach_reset,
                surrogate=surrogate,
                time_dim=time_dim,
                channel_dim=channel_dim,
                steps=steps,
            )
        )
    return LIFOutput(
        *lif_op(
            x,
            v0,
            decay,
            gain,
            v_th,
            v_reset,
            reset,
            detach_reset,
            surrogate.name,
            surrogate.params,
            time_dim,
            channel_dim,
            steps,
            provider,
        )
    )


def check(
    x: Tensor,
    v0: Tensor | None,
    params: tuple[Tensor, Tensor, Tensor],
    reset: str,
    time_dim: int,
    channel_dim: int,
) -> None:
    """Raise ValueError or TypeError for what a scan cannot take."""
    decay, gain, v_th = params
    fit = _fit if torch.compiler.is_compiling() else _known_fit
    fit(
        x.dtype,
        x.shape,
        None if v0 is None else v0.shape,
        decay.shape,
        gain.shape,
        v_th.shape,
        reset,
        time_dim,
        channel_dim,
    )


def _fit(
    dtype: torch.dtype,
    shape: torch.Size,
    v0: torch.Size | None,
    decay: torch.Size,
    gain: torch.Size,
    v_th: torch.Size,
    reset: str,
    time_dim: int,
    channel_dim: int,
) -> None:
    if dtype not in DTYPES:
        raise TypeError(f"x has dtype {dtype}, expected one of {', '.join(map(str, DTYPES))}")
    if reset not in get_args(Reset):
        raise ValueError(f"reset={reset!r}, expected one of {', '.join(get_args(Reset))}")
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


# As for layouts: what fitted once fits again, and torch.compile traces no cache.
_known_fit = lru_cache(maxsize=1024)(_fit)
