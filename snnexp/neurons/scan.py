"""What IF, LIF and PLIF share: fixed threshold and reset, one scan of the fused LIF op."""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.kernels.backend import Backend, Provider, resolve
from snnexp.kernels.lif import Reset, lif
from snnexp.neurons.base import Neuron, NeuronOutput
from snnexp.surrogates import Surrogate


class ScanNeuron(Neuron):
    """Neurons of one threshold and reset value; subclasses say what `decay` and `gain` are.

    h[t] = v_reset + decay (v[t-1] - v_reset) + gain x[t], then fire and reset as in
    `snnexp.kernels.lif.reference`. No state outlives a call: the membrane starts at `v0`, by
    default `v_reset`, and its last value is returned.
    """

    v_th: Tensor

    def __init__(
        self,
        channels: int,
        time_dim: int = 0,
        channel_dim: int = 2,
        *,
        v_th: float,
        v_reset: float,
        reset: Reset,
        detach_reset: bool,
        surrogate: Surrogate,
        backend: Backend,
    ) -> None:
        super().__init__(channels, time_dim, channel_dim)
        self.v_reset, self.reset, self.detach_reset = v_reset, reset, detach_reset
        self.surrogate, self.backend = surrogate, backend
        # Constants follow the module to its device, but are no part of a checkpoint.
        self.register_buffer("v_th", torch.tensor(v_th), persistent=False)

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Return `decay` and `gain`, 0-d tensors or one value a channel."""
        raise NotImplementedError

    def provider(self, device: torch.device) -> Provider:
        """Return the provider of the LIF scan."""
        return resolve(self.backend, device)

    def forward(
        self,
        x: Tensor,
        v0: Tensor | None = None,
        weight: Tensor | None = None,
        steps: int | None = None,
    ) -> NeuronOutput:
        """Run the neurons over all steps of x; `weight` is not used."""
        decay, gain = self.coefficients()
        out = lif(
            x,
            v0,
            decay,
            gain,
            self.v_th,
            v_reset=self.v_reset,
            reset=self.reset,
            detach_reset=self.detach_reset,
            surrogate=self.surrogate,
            time_dim=self.time_dim,
            channel_dim=self.channel_dim,
            backend=self.backend,
            steps=steps,
        )
        return NeuronOutput(*out)

    def extra_repr(self) -> str:
        """Show the size, the axes and the reset."""
        return (
            f"{self.channels}, time_dim={self.time_dim}, channel_dim={self.channel_dim}, "
            f"reset={self.reset}, surrogate={self.surrogate}, backend={self.backend}"
        )
