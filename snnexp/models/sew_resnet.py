"""SEW ResNet and Spiking ResNet, 18 to 152 layers (Fang et al., NeurIPS 2021, arXiv 2102.04159).

Letters: T time, B batch, C channel, H W space, K classes.
"""

from __future__ import annotations

from typing import Literal

import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.models.base import Model, ModelOutput
from snnexp.models.layers import (
    ConvSpike,
    MaxPool,
    NeuronFactory,
    ResidualBlock,
    check_steps,
    over_time,
)

#: depth -> blocks of each stage, and whether they are bottlenecks
STAGES: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
EXPANSION = 4


class SEWResNet(Model):
    """ResNet whose blocks add, AND or IAND spikes ('sew_*'), or fire after the sum ('spiking').

        conv7x7/2(64) - norm - neuron - maxpool 3x3/2
        4 stages of `ResidualBlock`s of width 64, 128, 256, 512, the last three begin with stride 2
        mean over space and time - linear

    Blocks are conv3x3 - conv3x3, from 50 layers on conv1x1 - conv3x3 (with the stride) - conv1x1 to
    four times the width. A static image passes the first convolution and norm once; the neurons
    behind them are the encoder and see it for `n_steps` steps. Convolutions start with Kaiming's
    normal, fan out. With `zero_init_residual` each block starts as the identity (of IF neurons).

    Source: authors' code, imagenet/ (facts, section 1.1). The paper's ImageNet runs use IF neurons
    and 4 steps, sew_add without zero-init, and the 'spiking' baseline with it.
    Parameters as torchvision's ResNets, 11,689,512 with 18 layers and 1000 classes.
    Input [T, B, C, H, W], static [B, C, H, W]; logits [B, K], trace [T, B, K] in evaluation.
    """

    alternatives = "conv_snn or fc_snn for [T, C, F] and [T, N] input, stereospike for depth"

    def __init__(
        self,
        spec: TaskSpec,
        *,
        neuron: NeuronFactory,
        depth: Literal[18, 34, 50, 101, 152],
        residual: Literal["sew_add", "sew_and", "sew_iand", "spiking"],
        n_steps: int | None,
        zero_init_residual: bool,
    ) -> None:
        super().__init__(spec)
        self.require(
            spec.kind == "classification" and len(spec.step_shape) == 3,
            "classification of images or of sequences of frames, steps of shape (C, H, W)",
        )
        check_steps(spec, n_steps)
        self.n_steps = n_steps
        self.stem = ConvSpike(spec.step_shape[0], 64, 7, 2, neuron=neuron)
        self.pool = MaxPool(3, stride=2, padding=1)
        counts, bottleneck = STAGES[depth]
        blocks: list[ResidualBlock] = []
        inputs = 64
        for stage, count in enumerate(counts):
            width = 64 * 2**stage
            for n in range(count):
                stride = 2 if stage > 0 and n == 0 else 1
                layers = [(inputs, width, 3, stride), (width, width, 3, 1)]
                if bottleneck:
                    layers = [
                        (inputs, width, 1, 1),
                        (width, width, 3, stride),
                        (width, EXPANSION * width, 1, 1),
                    ]
                blocks.append(
                    ResidualBlock(
                        layers, residual=residual, neuron=neuron, zero_init=zero_init_residual
                    )
                )
                inputs = layers[-1][1]
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(inputs, len(spec.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> ModelOutput:
        """Map x [T, B, C, H, W] (static: [B, C, H, W]) to logits [B, K]."""
        x_TBCHW = self.stem(x[None] if self.spec.static else x, self.n_steps)
        x_TBCHW = over_time(self.pool, x_TBCHW)
        for block in self.blocks:
            x_TBCHW = block(x_TBCHW)
        x_TBC = x_TBCHW.mean((3, 4))
        return ModelOutput(self.head(x_TBC.mean(0)), None if self.training else self.head(x_TBC))
