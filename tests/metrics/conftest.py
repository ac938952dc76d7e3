"""Small networks with real spikes: a threshold neuron in both layouts of the house.

Letters: T time, B batch, C channel, F feature.
"""

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from snnexp.neurons.base import Neuron, NeuronOutput
from snnexp.neurons.if_ import IF
from snnexp.surrogates import ATan


class Leaky(Neuron):
    """A leaky neuron with hard reset, in plain torch; gradient by a straight-through step."""

    def forward(
        self, x: Tensor, v0: Tensor | None = None, weight: Tensor | None = None
    ) -> NeuronOutput:
        v = torch.zeros_like(x.select(self.time_dim, 0)) if v0 is None else v0
        spikes = []
        for x_t in x.unbind(self.time_dim):
            h = 0.5 * v + x_t
            s = (h >= 1).to(h.dtype) + (h - h.detach())
            spikes.append(s)
            v = h * (1 - s)
        out = torch.stack(spikes, self.time_dim)
        count = torch.stack([s.detach() for s in spikes]).float().sum(0)
        return NeuronOutput(out, v, count)


class TimeFirst(nn.Module):
    """[T, B, F] through two layers of different width."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(5, 7), Leaky(7)
        self.fc2, self.lif2 = nn.Linear(7, 3, bias=False), Leaky(3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.lif1(2 * self.fc1(x)).spikes
        return self.lif2(3 * self.fc2(s)).spikes.mean(0)


class ConvOverTime(nn.Module):
    """[B, C, T, F]: time is an axis of the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, (3, 3), padding=1, bias=False)
        self.lif = Leaky(4, time_dim=2, channel_dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(3 * self.conv(x)).spikes


class Shown(nn.Module):
    """A picture [B, F] whose drive the first neurons see at each of five steps."""

    def __init__(self) -> None:
        super().__init__()
        surrogate = ATan(alpha=2.0)
        self.fc = nn.Linear(4, 6)
        self.neuron = IF(6, v_th=1.0, v_reset=0.0, reset="hard", detach_reset=True,
                         surrogate=surrogate, backend="cpu")  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(3 * self.fc(x[None]), steps=5).spikes


@pytest.fixture
def shown() -> Shown:
    torch.manual_seed(0)
    return Shown()


@pytest.fixture
def time_first() -> TimeFirst:
    torch.manual_seed(0)
    return TimeFirst()


@pytest.fixture
def conv_over_time() -> ConvOverTime:
    torch.manual_seed(0)
    return ConvOverTime()
