"""Leaky integrate and fire with a fixed time constant."""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend
from snnexp.kernels.lif import Reset
from snnexp.neurons.scan import ScanNeuron
from snnexp.surrogates import Surrogate


class LIF(ScanNeuron):
    """Leaky integrate and fire with time constant `tau` in steps, tau >= 1.

    With `decay_input` (Fang et al. 2021, PLIF; SpikingJelly's default)
        h[t] = v[t-1] + (x[t] - (v[t-1] - v_reset)) / tau:  decay 1 - 1/tau, gain 1/tau,
    without it x[t] is not divided by tau: gain 1.
    """

    decay: Tensor
    gain: Tensor

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
        if tau < 1:
            raise ValueError(f"model.neuron.tau={tau}: expected at least 1 step")
        self.tau = tau
        self.initial_gain = 1 / tau if decay_input else 1.0
        self.register_buffer("decay", torch.tensor(1 - 1 / tau), persistent=False)
        self.register_buffer("gain", torch.tensor(self.initial_gain), persistent=False)

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Return the constants decay and gain."""
        return self.decay, self.gain

    def extra_repr(self) -> str:
        """Add the time constant."""
        return f"{super().extra_repr()}, tau={self.tau}"
