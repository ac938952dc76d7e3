"""Parametric LIF: the time constant of a layer is learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snnexp.kernels.backend import Backend
from snnexp.kernels.lif import Reset
from snnexp.neurons.scan import ScanNeuron
from snnexp.surrogates import Surrogate


class PLIF(ScanNeuron):
    """LIF with one learned parameter w a layer (Fang et al. 2021, PLIF).

    k = sigmoid(w),  tau = 1/k > 1,  w = -ln(tau0 - 1) at the start (tau0 = 2: w = 0);
    decay 1 - k, gain k; without `decay_input` gain 1. `tau` is tau0.
    """

    def __init__(
        self,
        channels: int,
        time_dim: int = 0,
        channel_dim: int = 2,
        *,
        tau: float,
        decay_input: bool,
        v_th: float,
        v_reset: float,
        reset: Reset,
        detach_reset: bool,
        surrogate: Surrogate,
        backend: Backend,
    ) -> None:
        super().__init__(
            channels,
            time_dim,
            channel_dim,
            v_th=v_th,
            v_reset=v_reset,
            reset=reset,
            detach_reset=detach_reset,
            surrogate=surrogate,
            backend=backend,
        )
        if tau <= 1:
            raise ValueError(f"model.neuron.tau={tau}: expected more than 1, tau = 1/sigmoid(w)")
        self.decay_input = decay_input
        self.initial_gain = 1 / tau if decay_input else 1.0
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1)))

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Return decay and gain, with gradients into w."""
        k = torch.sigmoid(self.w)
        return 1 - k, k if self.decay_input else torch.ones_like(k)
