"""7B-Net and Wide-7B-Net for event frames (Fang et al., NeurIPS 2021, arXiv 2102.04159).

Letters: T time, B batch, C channel, H W space, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.models.base import Model, ModelOutput
from snnexp.models.layers import (
    ConvSpike,
    MaxPool,
    NeuronFactory,
    Residual,
    ResidualBlock,
    over_time,
)


class SevenBNet(Model):
    """Residual blocks, each followed by a 2x2 max pool, then one linear layer on the mean over T.

        for each (channels, blocks) of `stages`:
            conv(channels) - norm - neuron              kernel `channel_kernel`
            {block(channels) - maxpool 2x2} x blocks
        flatten - mean over time - linear

    7B-Net is stages [[32, 7]], Wide-7B-Net [[64, 4], [128, 3]]. `residual` names the block: the
    three SEW connections, 'spiking' (neurons after the sum; "basic" in the code) or 'plain' (no
    shortcut).

    Source: authors' code, dvsgesture/ and cifar10dvs/ (facts, sections 1.4 and 1.5). The published
    code changes channels by a 1x1 convolution, the paper is quoted with 3x3: both are offered.
    Parameters with PLIF neurons: 130,426 and 1,192,218 (1x1), 130,938 and 1,258,778 (3x3).
    Input [T, B, C, H, W]; logits [B, K], trace [T, B, K] in evaluation.
    """

    alternatives = "plif_net or sew_resnet18 for static images, conv_snn for [T, C, F] input"

    def __init__(
        self,
        spec: TaskSpec,
        *,
        neuron: NeuronFactory,
        residual: Residual,
        stages: Sequence[tuple[int, int]],
        channel_kernel: Literal[1, 3],
        zero_init_residual: bool,
    ) -> None:
        super().__init__(spec)
        self.require(
            spec.kind == "classification" and not spec.static and len(spec.step_shape) == 3,
            "classification of sequences of frames, steps of shape (C, H, W)",
        )
        inputs, height, width = spec.step_shape
        shrink = 2 ** sum(count for _, count in stages)
        self.require(
            min(height, width) >= shrink,
            f"frames of at least {shrink}x{shrink}: a pool follows each block (model.stages)",
        )
        self.layers = nn.ModuleList()
        for channels, count in stages:
            self.layers.append(ConvSpike(inputs, channels, channel_kernel, neuron=neuron))
            inputs = channels
            for _ in range(count):
                self.layers.append(
                    ResidualBlock(
                        [(channels, channels, 3, 1)] * 2,
                        residual=residual,
                        neuron=neuron,
                        zero_init=zero_init_residual,
                    )
                )
        self.pool = MaxPool(2)
        features = inputs * (height // shrink) * (width // shrink)
        self.head = nn.Linear(features, len(spec.classes))

    def forward(self, x: Tensor) -> ModelOutput:
        """Map x [T, B, C, H, W] to logits [B, K]."""
        x_TBCHW = x
        for layer in self.layers:
            x_TBCHW = layer(x_TBCHW)
            if isinstance(layer, ResidualBlock):
                x_TBCHW = over_time(self.pool, x_TBCHW)
        x_TBF = x_TBCHW.flatten(2)
        return ModelOutput(self.head(x_TBF.mean(0)), None if self.training else self.head(x_TBF))
