"""StereoSpike: dense depth from one or two event cameras, and its analogue twins.

Rançon, Cuadrado-Anibarro, Cottereau, Masquelier: arXiv 2109.13751 and IEEE Access 10 (2022).
Letters: B batch, C channel, H W space of the sensor, h w of a coarser level, k kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import ClassVar, cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.kernels.taps import conv_enlarged, enlarge, sum_taps
from snnexp.models.base import Model, ModelOutput
from snnexp.models.layers import NeuronFactory

LEVELS = (4, 3, 2, 1)


class Conv(nn.Module):
    """A convolution C -> K of size k, or with `separable` k x k by channel and then 1 x 1.

    `weight` is that of the last convolution: the one that mixes channels. With `size` the input is
    first enlarged, copying pixels, to what an unpadded convolution makes that size of. In training
    on a CPU the products are then taken before enlarging (`snnexp.kernels.taps`): a fourth of them,
    and the enlarged input is not kept. In evaluation every convolution runs as it stands, so that
    hooks on it count the paper's operations.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int,
        separable: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.depthwise: nn.Conv2d | None = None
        if separable:
            self.depthwise = nn.Conv2d(
                inputs, inputs, kernel, stride, padding, groups=inputs, bias=bias
            )
            self.mix = nn.Conv2d(inputs, outputs, 1, bias=bias)
        else:
            self.mix = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)

    @property
    def weight(self) -> Tensor:
        """The weight [C_out, C_in, ...] of the convolution that mixes channels."""
        return self.mix.weight

    def forward(self, x_BCHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Convolve; channels last on a CPU, where that is faster."""
        on_cpu = x_BCHW.device.type == "cpu"
        if on_cpu:
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        if size is not None:
            # products of bfloat16 would each be rounded before they are added
            full = on_cpu and not torch.is_autocast_enabled("cpu")
            if self.training and full and self.depthwise is None:
                return conv_enlarged(x_BCHW, self.mix.weight, size)
            x_BCHW = enlarge(x_BCHW, size, self.kernel)
        return self.mix(x_BCHW if self.depthwise is None else self.depthwise(x_BCHW))


class SpikeUnit(nn.Module):
    """scale * conv (no bias), then neurons, for one time step."""

    def __init__(self, conv: Conv, channels: int, *, neuron: NeuronFactory, scale: float) -> None:
        super().__init__()
        self.conv, self.scale = conv, scale
        self.neuron = neuron(channels, time_dim=0, channel_dim=2)

    def forward(self, x_BCHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return spikes, of `size` if that is given: see `Conv`."""
        drive_BCHW = self.scale * self.conv(x_BCHW, size)
        # not [0], whose gradient is written into zeros that lie otherwise
        return self.neuron(drive_BCHW[None], weight=self.conv.weight).spikes.squeeze(0)


class AnalogueUnit(nn.Module):
    """conv, activation, batch norm, in this order, as in the authors' analogue twins."""

    def __init__(self, conv: Conv, channels: int, *, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x_BCHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return normalised activations, of `size` if that is given: see `Conv`."""
        return self.norm(self.activation(self.conv(x_BCHW, size)))


class DepthHead(nn.Module):
    """scale * (convolution with bias to one channel, of its input enlarged to the sensor).

        depth = scale (conv_k(nearest(x, (H + k - 1, W + k - 1))) + bias)

    In training the products are taken at the coarse level, where they cost one channel of output,
    and the enlarged products are added (`snnexp.kernels.taps`). A separable head has the taps
    depthwise x pointwise. In evaluation the convolutions run as they stand: see `Conv`.
    """

    def __init__(self, conv: Conv, scale: float) -> None:
        super().__init__()
        self.conv, self.scale = conv, scale

    def forward(self, x_BChw: Tensor, size: tuple[int, int]) -> Tensor:
        """Return a map [B, 1, H, W] in float32 (float64 for float64 input)."""
        if self.training:
            return self.scale * self._at_input_resolution(x_BChw, size)
        depth = self.conv(x_BChw, size)
        return self.scale * depth.to(torch.promote_types(depth.dtype, torch.float32))

    def _at_input_resolution(self, x_BChw: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the convolution of the enlarged input."""
        weight, bias = self._taps()
        z = F.conv2d(x_BChw, weight.flatten(1).t()[:, :, None, None])
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        return sum_taps(z, self.conv.kernel, size) + bias

    def _taps(self) -> tuple[Tensor, Tensor]:
        """Return the weights [C, k, k] and the bias of the head as one convolution."""
        mix, depthwise = self.conv.mix, self.conv.depthwise
        bias = cast(Tensor, mix.bias)
        if depthwise is None:
            return mix.weight[0], bias
        by_channel = mix.weight[0]
        inner = cast(Tensor, depthwise.bias)
        return depthwise.weight[:, 0] * by_channel, bias + (by_channel.flatten() * inner).sum()


class DepthUNet(Model):
    """Encoder, residual bottleneck, decoder with additive skips, summed depth heads.

        e_0 = unit(x),  e_l = unit(e_{l-1}) with stride 2, l = 1..4       widths[l] channels
        y_5: two blocks a + unit(unit(a)) of e_4                                            (1)
        y_l = unit(nearest(y_{l+1}, size of e_{l-1})) + e_{l-1},  l = 4..1                  (2)
        depth_l = depth_{l+1} + head_l(y_l),  depth_5 = 0                                   (3)

    (3) is the paper's readout, neurons with an infinite threshold that add up what the heads send.
    The prediction is the tuple of all depth_l, the coarsest head's first, depth_1 last, in metres.

    `unit(conv, channels)` makes a convolution and what follows it. With `encoder_bias` the
    convolutions in front of the decoder have biases; those of the decoder never do. Without `skips`
    (2) has no e_{l-1}. `heads` are the levels with a head; 1 must be one of them. `widths` are 32,
    64, 128, 256, 512 in the paper.
    Input [B, C, H, W] of one step; maps [B, 1, H, W].
    """

    alternatives = "plif_net, seven_b_net or sew_resnet18 for classification"
    parts: ClassVar = {"encoder": ("bottom", "encoder"), "decoder": ("decoder",)}

    def __init__(
        self,
        spec: TaskSpec,
        unit: Callable[[Conv, int], nn.Module],
        *,
        widths: Sequence[int],
        kernel: int,
        residual_kernel: int,
        head_kernel: int,
        separable: bool,
        skips: bool,
        heads: Sequence[int],
        head_scale: float,
        encoder_bias: bool,
    ) -> None:
        super().__init__(spec)
        self.require(
            spec.kind == "depth" and spec.n_steps in (None, 1) and len(spec.step_shape) == 3,
            "dense depth from one step of frames (C, H, W)",
        )
        _check(
            widths, heads, kernel=kernel, residual_kernel=residual_kernel, head_kernel=head_kernel
        )
        self.skips = skips

        def build(
            inputs: int, outputs: int, size: int, stride: int = 1, pad: bool = True
        ) -> nn.Module:
            padding = size // 2 if pad else 0
            bias = encoder_bias and pad
            conv = Conv(
                inputs, outputs, size, stride, padding=padding, separable=separable, bias=bias
            )
            return unit(conv, outputs)

        deepest = widths[-1]
        self.bottom = build(spec.step_shape[0], widths[0], kernel)
        self.encoder = nn.ModuleList(build(i, o, kernel, 2) for i, o in pairwise(widths))
        self.bottleneck = nn.ModuleList(
            nn.Sequential(*(build(deepest, deepest, residual_kernel) for _ in range(2)))
            for _ in range(2)
        )
        self.decoder = nn.ModuleList(
            build(i, o, kernel, pad=False) for i, o in pairwise(widths[::-1])
        )
        self.heads = nn.ModuleDict()
        for level in sorted(heads, reverse=True):
            conv = Conv(
                widths[level - 1], 1, head_kernel, padding=0, separable=separable, bias=True
            )
            self.heads[str(level)] = DepthHead(conv, head_scale)

    def forward(self, x: Tensor) -> ModelOutput:
        """Map x [B, C, H, W] (or one step of it, [1, B, C, H, W]) to depth maps [B, 1, H, W]."""
        x_BCHW = x if self.spec.static else x[0]
        size = (x_BCHW.shape[-2], x_BCHW.shape[-1])
        passed = [self.bottom(x_BCHW)]
        for unit in self.encoder:
            passed.append(unit(passed[-1]))
        y = passed.pop()
        for block in self.bottleneck:
            y = y + block(y)
        depths: list[Tensor] = []
        for level, unit in zip(LEVELS, self.decoder, strict=True):
            skip = passed.pop()
            y = unit(y, (skip.shape[-2], skip.shape[-1]))
            if self.skips:
                y = y + skip
            if str(level) in self.heads:
                depth = self.heads[str(level)](y, size)
                depths.append(depths[-1] + depth if depths else depth)
        return ModelOutput(tuple(depths))


def _check(widths: Sequence[int], heads: Sequence[int], **kernels: int) -> None:
    if len(widths) != 5 or min(widths) < 1:
        raise ValueError(
            f"model.widths={list(widths)}: expected the channels of five levels, full resolution "
            "first"
        )
    if 1 not in heads or not set(heads) <= set(LEVELS) or len(set(heads)) != len(heads):
        raise ValueError(
            f"model.heads={list(heads)}: expected different levels out of 4, 3, 2, 1 with 1, the "
            "finest, among them"
        )
    for name, size in kernels.items():
        if size < 1 or size % 2 == 0:
            raise ValueError(f"model.{name}={size}: expected an odd size")


class StereoSpike(DepthUNet):
    """The spiking `DepthUNet`: every unit is conv (no bias) x `scale`, then neurons, in one step.

    All membranes start at the reset value in each frame, so a frame needs no other: PLIF's decay
    never acts and its k is a learned gain of the layer. Heads are scaled too.

    Version 2 of the paper: kernel 5, residual and head kernel 3: 18,148,708 parameters with two
    cameras (4 channels), 18,147,108 with one (2). Version 3: all kernels 7 and separable,
    1,592,456. Both had PLIF with tau 3 at the start and scale 10, which adds 13 parameters k.

    Source: paper v2, sections 3 and 4, and the authors' code (facts, sections 3.3 and 3.4). Their
    published class with IF neurons is `neuron@model.neuron=if`.
    """

    def __init__(
        self,
        spec: TaskSpec,
        *,
        neuron: NeuronFactory,
        widths: Sequence[int],
        kernel: int,
        residual_kernel: int,
        head_kernel: int,
        separable: bool,
        skips: bool,
        heads: Sequence[int],
        scale: float,
    ) -> None:
        super().__init__(
            spec,
            partial(SpikeUnit, neuron=neuron, scale=scale),
            widths=widths,
            kernel=kernel,
            residual_kernel=residual_kernel,
            head_kernel=head_kernel,
            separable=separable,
            skips=skips,
            heads=heads,
            head_scale=scale,
            encoder_bias=False,
        )


class StereoSpikeANN(DepthUNet):
    """The analogue twin: conv - activation - batch norm in place of conv - neurons.

    Convolutions have biases but in the decoder; nothing is scaled. `activation` is one module
    without parameters, shared by all units. Source: authors' code (facts, section 3.7, table 4).
    """

    def __init__(
        self,
        spec: TaskSpec,
        *,
        activation: nn.Module,
        widths: Sequence[int],
        kernel: int,
        residual_kernel: int,
        head_kernel: int,
        separable: bool,
        skips: bool,
        heads: Sequence[int],
    ) -> None:
        super().__init__(
            spec,
            partial(AnalogueUnit, activation=activation),
            widths=widths,
            kernel=kernel,
            residual_kernel=residual_kernel,
            head_kernel=head_kernel,
            separable=separable,
            skips=skips,
            heads=heads,
            head_scale=1.0,
            encoder_bias=True,
        )
