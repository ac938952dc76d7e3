"""The contract of all neurons: a whole sequence in, spikes, last membrane and counts out.

Letters: T time; the other axes are the caller's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from snnexp.kernels.backend import Provider


class NeuronOutput(NamedTuple):
    """`spikes` has the shape of the input, all steps of it; `v` and `count` lack its time axis.

    `v` is the membrane after the last step. `count` is the number of spikes of each neuron over
    all steps, float32, without gradient: firing rates cost no second pass.
    """

    spikes: Tensor
    v: Tensor
    count: Tensor  # type: ignore[assignment] # the field's name hides tuple.count


class Neuron(nn.Module):
    """Base of all spiking layers, built by a model as `neuron(channels, time_dim=, channel_dim=)`.

    `time_dim` and `channel_dim` are positions in the input. `forward(x, v0, weight, steps)` sees
    the whole sequence; `v0` is the membrane before the first step (shape of x without time;
    default: reset value); `weight` is the weight of the layer that made x, for neurons normalised
    by it. With `steps`, x has one step, which is shown that many times.
    """

    #: factor of the input in the charging equation at the start of training (`gain` of the op)
    initial_gain: float = 1.0

    def __init__(self, channels: int, time_dim: int = 0, channel_dim: int = 2) -> None:
        super().__init__()
        self.channels, self.time_dim, self.channel_dim = channels, time_dim, channel_dim

    def initial_weight_std(self, normalised_std: float) -> float:
        """Return sqrt(fan_in) * standard deviation for the weights of the layer in front.

        A neuron normalised by ||w||^2 overrides this and takes `normalised_std`: with a decay of
        0.7 its input enters as 0.3 w x / ||w||^2, of size 0.3 |x| / normalised_std. For any other
        neuron the weights that give the same drive have std * initial_gain = 0.3 / normalised_std.
        """
        return 0.3 / (normalised_std * self.initial_gain)

    def provider(self, device: torch.device) -> Provider:
        """Return what runs this layer on `device`, never `auto`.

        Raises BackendError where a backend asked for by name cannot.
        """
        raise NotImplementedError

    def constrain(self) -> None:
        """Bring learned parameters back into their range; called after each optimizer step."""

    def forward(
        self,
        x: Tensor,
        v0: Tensor | None = None,
        weight: Tensor | None = None,
        steps: int | None = None,
    ) -> NeuronOutput:
        """Run the neurons over all steps of x."""
        raise NotImplementedError
