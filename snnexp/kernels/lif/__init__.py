"""The fused LIF scan: one function, three providers (`reference`, `cpu`, `triton`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend, resolve
from snnexp.kernels.layout import is_dense
from snnexp.kernels.lif import reference
from snnexp.kernels.lif.op import lif_op
from snnexp.kernels.lif.settings import Reset, Scan, check
from snnexp.kernels.operator import is_plain
from snnexp.surrogates import Surrogate

__all__ = ["LIFOutput", "Reset", "lif"]


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
    provider = resolve(backend, x.device)
    scan = Scan(
        v_reset,
        reset,
        detach_reset,
        surrogate.name,
        surrogate.params,
        time_dim,
        channel_dim,
        steps,
    )
    if provider == "cpu" and is_plain(x):
        return LIFOutput(*_direct()(x, v0, decay, gain, v_th, scan))
    check(x, v0, decay, gain, v_th, scan)
    state = torch.float64 if x.dtype == torch.float64 else torch.float32
    x = x if is_dense(x) else x.contiguous()
    decay, gain, v_th = decay.to(state), gain.to(state), v_th.to(state)
    v0 = None if v0 is None else v0.to(state)
    if provider == "reference":
        return LIFOutput(*reference.lif(x, v0, decay, gain, v_th, scan, surrogate))
    return LIFOutput(*lif_op(x, v0, decay, gain, v_th, *scan, provider))


@lru_cache
def _direct() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Import Numba's kernels when they are first needed; once, for an import costs time again."""
    from snnexp.kernels.lif import direct

    return direct.lif
