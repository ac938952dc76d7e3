"""How a trace of weighted spikes becomes one score per class.

Letters: B batch, T time, N inputs, K classes.

Both readouts are normalised as the spiking layers of s2net: with w_k the weights of class k and a
learned offset b_k, score_k = y_k / (||w_k||^2 + 1e-8) - b_k.
Source: Pellegrini et al. 2021 and the code of its technical report (arXiv 1911.10124).
"""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor

from snnexp.neurons.li import LI

EPS = 1e-8


class NormalisedReadout(nn.Module):
    """Linear readout of spikes over time, `mode` mean or max.

    mean: y = mean over t of W s[t]. As the mean is linear it is taken before the product, which
    then runs once instead of T times; where the trace is asked for (evaluation) the layer sees the
    spikes themselves, so that its synaptic operations are counted as what they are.
    max: u[t] = decay u[t-1] + (1 - decay) W s[t] (decay learned, one for the layer), and
    y = max over t of u[t].
    """

    def __init__(
        self, inputs: int, classes: int, *, mode: str, weight_std: float, decay: float
    ) -> None:
        super().__init__()
        if mode not in ("mean", "max"):
            raise ValueError(f"readout mode {mode!r}; expected 'mean' or 'max' (model.readout)")
        self.mode = mode
        self.linear = nn.Linear(inputs, classes, bias=False)
        nn.init.normal_(self.linear.weight, 0.0, weight_std / inputs**0.5)
        self.offset = nn.Parameter(1.0 + 0.01 * torch.randn(classes))
        self.integrator = LI(decay=decay, decay_input=True) if mode == "max" else None

    def forward(self, spikes_TBN: Tensor, *, trace: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return scores [B, K] and, where asked for or needed, their course over time [T, B, K]."""
        if self.integrator is None and not trace:
            return self._normalise(self.linear(_mean_over_time(spikes_TBN))), None
        if self.integrator is None:
            course_TBK = self._normalise(self.linear(spikes_TBN))
            return course_TBK.mean(0), course_TBK
        u_TBK = self._normalise(self.integrator(self.linear(spikes_TBN)))
        return u_TBK.amax(0), u_TBK

    def _normalise(self, y: Tensor) -> Tensor:
        norm_K = self.linear.weight.square().sum(1) + EPS
        return y / norm_K - self.offset


def _mean_over_time(x_TBN: Tensor) -> Tensor:
    """Return [B, N]. The gradient of a mean lies as its axes are ordered: let it lie as x does."""
    batch_outermost = x_TBN.stride(1) > x_TBN.stride(0)
    return x_TBN.transpose(0, 1).mean(1) if batch_outermost else x_TBN.mean(0)
