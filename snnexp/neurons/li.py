"""Leaky integrator: a readout that does not spike.

Letters: T time; the other axes are the caller's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LI(nn.Module):
    """Leaky integrator with one learned leak; returns its whole membrane trace.

    v[t] = decay v[t-1] + gain x[t],  v[-1] = 0,  gain 1 - decay with `decay_input`, else 1.

    The recurrence is linear, so the trace is one product with the lower triangular matrix
    M[t, k] = gain decay^(t-k), k <= t: one matrix product for all steps and neurons, in float32
    (float64 for float64 input). Readout of Pellegrini et al. 2021 ("max", decay 0.7 at the start)
    and Rasteh et al. 2022. `constrain`, to be called after every optimizer step, clamps decay to
    [0, 1].
    """

    def __init__(self, time_dim: int = 0, *, decay: float, decay_input: bool) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"LI: decay={decay}, expected a value in [0, 1]")
        self.time_dim, self.decay_input = time_dim, decay_input
        self.decay = nn.Parameter(torch.tensor(float(decay)))

    @torch.no_grad()
    def constrain(self) -> None:
        """Clamp decay to [0, 1]."""
        self.decay.clamp_(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the membrane after every step, in the shape of x."""
        state = torch.float64 if x.dtype == torch.float64 else torch.float32
        with torch.autocast(x.device.type, enabled=False):
            decay = self.decay.to(state)
            t = torch.arange(x.shape[self.time_dim], device=x.device)
            age_TT = t[:, None] - t[None, :]
            # The power of a negative age is never used, but its gradient would be inf * 0.
            kernel_TT = (decay ** age_TT.clamp(min=0)).tril()
            if self.decay_input:
                kernel_TT = (1 - decay) * kernel_TT
            trace = torch.tensordot(kernel_TT, x.to(state), dims=([1], [self.time_dim]))
            return trace.movedim(0, self.time_dim)

    def extra_repr(self) -> str:
        """Show the axis and the input's scale."""
        return f"time_dim={self.time_dim}, decay_input={self.decay_input}"
