"""Convolutional SNN over time and features (Pellegrini, Zimmer, Masquelier 2021).

Letters: B batch, T time, C channel, F feature (mel band, frequency bin), K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.models.base import Model, ModelOutput
from snnexp.neurons.base import Neuron
from snnexp.readout import NormalisedReadout


class ConvSNN(Model):
    """Dilated convolutions over (time, feature), each followed by spiking neurons; a readout.

    The convolution of layer l runs over the whole sequence, then its neurons run over time:

        x_l = conv_l(s_{l-1}),   s_l = neuron(x_l),   scores = readout(s_L)

    Stride 1, no bias, no pooling. Padding is ceil((k - 1) d / 2) on both sides: the convolution is
    not causal, and an even kernel adds a step (101 -> 102 with the paper's first layer).
    Weights start as N(0, (weight_std / sqrt(fan_in))^2) for neurons normalised by ||w||^2. For
    other neurons, where that would leave them silent, they start with the standard deviation
    that gives the same drive, `Neuron.initial_weight_std`.

    Source: facts of the speech paper's code, section 1.4; 131,535 parameters with 12 classes, three
    layers of 64 channels and 40 mel bands.
    """

    alternatives = "plif_net or sew_resnet for images and event frames, fc_snn for [T, N] input"

    def __init__(
        self,
        spec: TaskSpec,
        *,
        neuron: Callable[..., Neuron],
        channels: Sequence[int],
        kernels: Sequence[tuple[int, int]],
        dilations: Sequence[tuple[int, int]],
        weight_std: float,
        readout: Literal["mean", "max"],
        readout_decay: float,
    ) -> None:
        super().__init__(spec)
        self.require(
            spec.kind == "classification" and not spec.static and len(spec.step_shape) == 2,
            "classification of sequences whose steps have the shape (channels, features)",
        )
        if not len(channels) == len(kernels) == len(dilations):
            raise ValueError(
                "model.channels, model.kernels and model.dilations need one entry a layer; given "
                f"{len(channels)}, {len(kernels)} and {len(dilations)}"
            )
        widths = [spec.step_shape[0], *channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, (k[0], k[1]), 1, _padding(k, d), (d[0], d[1]), bias=False)
            for (i, o), k, d in zip(pairwise(widths), kernels, dilations, strict=True)
        )
        self.neurons = nn.ModuleList(neuron(c, time_dim=2, channel_dim=1) for c in channels)
        for conv, spiking in self._layers():
            std = spiking.initial_weight_std(weight_std)
            nn.init.normal_(conv.weight, 0.0, std / math.sqrt(conv.weight[0].numel()))
        features = spec.step_shape[1]
        for k, d in zip(kernels, dilations, strict=True):
            features += 2 * _padding(k, d)[1] - d[1] * (k[1] - 1)
        self.readout = NormalisedReadout(
            channels[-1] * features,
            len(spec.classes),
            mode=readout,
            weight_std=weight_std,
            decay=readout_decay,
        )

    def _layers(self) -> Iterator[tuple[nn.Conv2d, Neuron]]:
        for conv, spiking in zip(self.convs, self.neurons, strict=True):
            yield cast(nn.Conv2d, conv), cast(Neuron, spiking)

    def forward(self, x: Tensor) -> ModelOutput:
        """Map x [T, B, C, F] to scores [B, K]."""
        x_BCTF = x.permute(1, 2, 0, 3)
        if x_BCTF.device.type == "cpu":
            # oneDNN's dilated convolutions run more than twice as fast with channels last
            x_BCTF = x_BCTF.contiguous(memory_format=torch.channels_last)
        for conv, spiking in self._layers():
            x_BCTF = spiking(conv(x_BCTF), weight=conv.weight).spikes
        scores, trace = self.readout(x_BCTF.permute(2, 0, 3, 1).flatten(2), trace=not self.training)
        return ModelOutput(scores, trace)


def _padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, int]:
    time, feature = (math.ceil((k - 1) * d / 2) for k, d in zip(kernel, dilation, strict=True))
    return time, feature
