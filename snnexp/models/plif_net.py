"""The PLIF paper's convolutional networks (Fang et al., ICCV 2021, arXiv 2007.05785).

Letters: T time, B batch, C channel, H W space, F feature, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.models.base import Model, ModelOutput
from snnexp.models.layers import (
    ConvSpike,
    HeldDropout,
    MaxPool,
    NeuronFactory,
    NormOver,
    check_steps,
    over_time,
    vote,
)


class PLIFNet(Model):
    """Convolutions and pools, two spiking linear layers, and a vote of the output neurons.

        {conv3x3 - norm - neuron} x convs[i] - pool 2x2     for each i
        dropout[0] - linear(hidden) - neuron
        dropout[1] - linear(K votes) - neuron
        score_k = mean over time and the `votes` neurons of class k of their spikes

    No biases. A static image is convolved and normalised once by the first layer, whose neurons
    see the result at each of `n_steps` steps. Dropout masks are held over time. The score is a rate
    in [0, 1], to be trained by `loss=mse_rate`.

    Source: code and printed models of the paper's runs (facts, section 2.2). Where that differs
    from SpikingJelly's later version, the runs are followed: hidden layer 2048 and not 512 for
    CIFAR10-DVS, no second dropout for CIFAR-10. The code steps through time, so its batch norm
    takes its statistics over one step: norm_over='step'.
    Input [T, B, C, H, W], static [B, C, H, W]; scores [B, K], trace [T, B, K] in evaluation.
    """

    alternatives = "conv_snn or fc_snn for [T, C, F] and [T, N] input, stereospike for depth"

    def __init__(
        self,
        spec: TaskSpec,
        *,
        neuron: NeuronFactory,
        n_steps: int | None,
        channels: int,
        convs: Sequence[int],
        pool: Literal["max", "avg"],
        hidden: int,
        dropout: tuple[float, float],
        votes: int,
        norm_over: NormOver,
    ) -> None:
        super().__init__(spec)
        self.require(
            spec.kind == "classification" and len(spec.step_shape) == 3,
            "classification of images or of sequences of frames, steps of shape (C, H, W)",
        )
        check_steps(spec, n_steps)
        self.n_steps = n_steps
        inputs, height, width = spec.step_shape
        shrink = 2 ** len(convs)
        self.require(
            min(height, width) >= shrink,
            f"frames of at least {shrink}x{shrink} for {len(convs)} pools (model.convs)",
        )
        self.features = nn.ModuleList()
        for count in convs:
            for _ in range(count):
                conv = ConvSpike(inputs, channels, 3, neuron=neuron, norm_over=norm_over)
                self.features.append(conv)
                inputs = channels
            self.features.append(MaxPool(2) if pool == "max" else nn.AvgPool2d(2))
        features = channels * (height // shrink) * (width // shrink)
        widths = [features, hidden, len(spec.classes) * votes]
        self.dropouts = nn.ModuleList(HeldDropout(p) for p in dropout)
        self.linears = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in pairwise(widths))
        self.neurons = nn.ModuleList(neuron(o, time_dim=0, channel_dim=2) for o in widths[1:])

    def forward(self, x: Tensor) -> ModelOutput:
        """Map x [T, B, C, H, W] (static: [B, C, H, W]) to rates [B, K]."""
        steps = self.n_steps
        x_TBCHW = x[None] if self.spec.static else x
        for layer in self.features:
            if isinstance(layer, ConvSpike):
                x_TBCHW = layer(x_TBCHW, steps)
                steps = None
            else:
                x_TBCHW = over_time(layer, x_TBCHW)
        x_TBF = x_TBCHW.flatten(2)
        layers = zip(self.dropouts, self.linears, self.neurons, strict=True)
        for dropout, linear, neuron in layers:
            x_TBF = neuron(linear(dropout(x_TBF)), weight=linear.weight).spikes
        # the mean over time commutes with the vote, which then runs on one step
        scores = vote(x_TBF.mean(0), len(self.spec.classes))
        trace = None if self.training else vote(x_TBF, len(self.spec.classes))
        return ModelOutput(scores, trace)
