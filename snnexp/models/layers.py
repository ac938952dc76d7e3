"""Blocks that several architectures share: convolution + norm + neurons, residuals, dropout.

Letters: T time, B batch, C channel, H W space, F feature, K classes; X any further axes.

Stateless layers see time folded into the batch, neurons see the whole sequence. On a CPU the
convolutions run with channels last, [T, B, H, W, C] in memory: with the layers of the papers here
convolution + norm, forward + backward, took between the same time and half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.kernels.layout import repeat_step
from snnexp.kernels.pool import max_pool
from snnexp.models.base import SpecError
from snnexp.neurons.base import Neuron

NeuronFactory = Callable[..., Neuron]
#: what a residual block does with its branch A and its shortcut x (`ResidualBlock`)
Residual = Literal["sew_add", "sew_and", "sew_iand", "spiking", "plain"]
#: over what batch norm takes its statistics in training (`Norm`)
NormOver = Literal["sequence", "step"]


def check_steps(spec: TaskSpec, n_steps: int | None) -> None:
    """Raise SpecError unless `n_steps` is given for static input, and for no other."""
    if spec.static and (n_steps is None or n_steps < 1):
        raise SpecError(
            f"task {spec.name} gives static input: model.n_steps says for how many steps the "
            f"network sees it; expected at least 1, given {n_steps}"
        )
    if not spec.static and n_steps is not None:
        raise SpecError(
            f"model.n_steps={n_steps} is for static input only; task {spec.name} brings its own "
            f"{spec.n_steps} steps. Set model.n_steps=null"
        )


def over_time(layer: Callable[[Tensor], Tensor], x_TBX: Tensor) -> Tensor:
    """Apply a stateless layer to every step, time folded into the batch: no copy if time is first.

    x [T, B, X] may have any layout; its leading two axes fold without a copy where they are the
    outermost in memory, as they are behind any layer of this file.
    """
    return layer(x_TBX.flatten(0, 1)).unflatten(0, x_TBX.shape[:2])


def fast_layout(x_TBCHW: Tensor) -> Tensor:
    """Return x with time outermost and, on a CPU, channels innermost; no copy if it is so."""
    if x_TBCHW.device.type == "cpu":
        return x_TBCHW.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    return x_TBCHW.contiguous()


def fast_weights(model: nn.Module, device: torch.device) -> None:
    """Let the weights of convolutions lie as `fast_layout` has their input on this device.

    A convolution would copy them, and their gradients, at each call.
    """
    if device.type == "cpu":
        model.to(memory_format=torch.channels_last)


class MaxPool(nn.Module):
    """Max pooling of [B, C, H, W], as `torch.nn.MaxPool2d`; see `snnexp.kernels.pool`."""

    def __init__(self, kernel: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride or kernel, padding

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the largest number of each window."""
        return max_pool(x_BCHW, self.kernel, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Show the window."""
        return f"{self.kernel}, stride={self.stride}, padding={self.padding}"


class Norm(nn.Module):
    """Batch norm of [T, B, C, H, W] by channel.

    over='sequence' takes the training statistics over time, batch and space together: time folded
    into the batch (SEW ResNet). over='step' takes them over batch and space of each step, and moves
    the running averages once a step: a network that is run step by step (PLIF). Evaluation is the
    same for both.
    """

    def __init__(self, channels: int, over: NormOver) -> None:
        super().__init__()
        self.over = over
        # held, not inherited from: trainer.sync_batchnorm replaces every BatchNorm2d by its own
        self.batch_norm = nn.BatchNorm2d(channels)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        """Normalise every step of x."""
        if self.over == "step" and self.training:
            steps = [self.batch_norm(x_BCHW) for x_BCHW in x_TBCHW.unbind(0)]
            return torch.cat(steps).unflatten(0, x_TBCHW.shape[:2])
        return over_time(self.batch_norm, x_TBCHW)


class ConvSpike(nn.Module):
    """Convolution without bias, batch norm, neurons: [T, B, C, H, W] to spikes.

    Padding keeps the size at stride 1. With `neuron=None` it ends at the norm. `steps` is for a
    static input [1, B, C, H, W]: convolution and norm see it once, and the result is the input of
    the neurons at each of that many steps (direct encoding).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        neuron: NeuronFactory | None,
        norm_over: NormOver = "sequence",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = Norm(outputs, norm_over)
        self.neuron = None if neuron is None else neuron(outputs, time_dim=0, channel_dim=2)

    def forward(self, x_TBCHW: Tensor, steps: int | None = None) -> Tensor:
        """Return spikes, or the normalised drive where there is no neuron."""
        drive = over_time(self.conv, fast_layout(x_TBCHW))
        # behind frames of one channel, whose layout is ambiguous, a convolution puts channels first
        drive = self.norm(fast_layout(drive))
        if self.neuron is None:
            return drive if steps is None else repeat_step(drive, 0, steps)
        return self.neuron(drive, weight=self.conv.weight, steps=steps).spikes


class ResidualBlock(nn.Module):
    """A branch of convolutions beside a shortcut (Fang et al. 2021, SEW ResNet, section 1.1).

    With A the output of the branch's last layer and x the shortcut:

        sew_add     A + x          A and x are spikes; the sum counts them
        sew_and     A x
        sew_iand    (1 - A) x
        spiking     neuron(A + x)  A is the last norm's output: that layer has no neuron
        plain       A              no shortcut

    `layers` are (inputs, outputs, kernel, stride). Where the block changes size or channels the
    shortcut is a 1x1 convolution with norm, and with neurons of its own but for 'spiking'.
    """

    def __init__(
        self,
        layers: Sequence[tuple[int, int, int, int]],
        *,
        residual: Residual,
        neuron: NeuronFactory,
        zero_init: bool,
    ) -> None:
        super().__init__()
        self.residual = residual
        sums_drive = residual == "spiking"
        last = len(layers) - 1
        self.branch = nn.ModuleList(
            ConvSpike(i, o, k, s, neuron=None if sums_drive and n == last else neuron)
            for n, (i, o, k, s) in enumerate(layers)
        )
        inputs, outputs = layers[0][0], layers[-1][1]
        stride = max(s for *_, s in layers)
        self.shortcut: ConvSpike | None = None
        if residual != "plain" and (stride != 1 or inputs != outputs):
            self.shortcut = ConvSpike(
                inputs, outputs, 1, stride, neuron=None if sums_drive else neuron
            )
        self.neuron = neuron(outputs, time_dim=0, channel_dim=2) if sums_drive else None
        if zero_init:
            self._start_as_identity()

    @property
    def last(self) -> ConvSpike:
        """The last layer of the branch."""
        return cast(ConvSpike, self.branch[-1])

    def _start_as_identity(self) -> None:
        """Zero the last norm's weight; for AND set its bias to 1: IF neurons then always fire."""
        norm = self.last.norm.batch_norm
        nn.init.zeros_(norm.weight)
        if self.residual == "sew_and":
            nn.init.ones_(norm.bias)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        """Map spikes (or counts of spikes) to spikes (or counts)."""
        a = x_TBCHW
        for layer in self.branch:
            a = layer(a)
        if self.residual == "plain":
            return a
        x = x_TBCHW if self.shortcut is None else self.shortcut(x_TBCHW)
        if self.neuron is not None:
            return self.neuron(a + x, weight=self.last.conv.weight).spikes
        if self.residual == "sew_add":
            return a + x
        return a * x if self.residual == "sew_and" else (1 - a) * x


class HeldDropout(nn.Module):
    """Dropout of [T, B, F] whose mask is drawn once a sequence and held over time; PLIF code."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x_TBF: Tensor) -> Tensor:
        """Drop the same features at every step, and scale the others by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return x_TBF
        return x_TBF * F.dropout(torch.ones_like(x_TBF[0]), self.p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


def vote(spikes_TBF: Tensor, classes: int) -> Tensor:
    """Average the output neurons of each class, [T, B, K votes] -> [T, B, K] (any leading axes)."""
    return spikes_TBF.unflatten(-1, (classes, -1)).mean(-1)
