"""Fully connected SNN over time (Rasteh et al. 2022).

Letters: B batch, T time, N inputs or neurons, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.models.base import Model, ModelOutput
from snnexp.neurons.base import Neuron
from snnexp.neurons.li import LI
from snnexp.readout import EPS, NormalisedReadout


class FcSNN(Model):
    """Linear layers without bias, each followed by spiking neurons; a leaky readout.

    x_l[t] = W_l s_{l-1}[t],   s_l = neuron(x_l),   scores = readout(s_L)

    Weights start as N(0, (weight_std / sqrt(fan_in))^2) for neurons normalised by ||w||^2, with
    `Neuron.initial_weight_std` for others. `readout` leaky_mean is the paper's (`LeakyMean`), mean
    and max are `readout.NormalisedReadout`'s. The readout's offset starts at 1 for all classes.

    Source: Rasteh et al., Neurocomputing 503 (2022), and the authors' public code; 31,516
    parameters with 300 inputs, 100 hidden neurons and 14 classes.
    """

    alternatives = "conv_snn for (channels, features) steps, plif_net or sew_resnet for images"

    def __init__(
        self,
        spec: TaskSpec,
        *,
        neuron: Callable[..., Neuron],
        hidden: Sequence[int],
        weight_std: float,
        readout: Literal["leaky_mean", "mean", "max"],
        readout_decay: float,
    ) -> None:
        super().__init__(spec)
        self.require(
            spec.kind == "classification" and not spec.static and len(spec.step_shape) == 1,
            "classification of sequences whose steps are vectors (N,)",
        )
        if not hidden or min(hidden) < 1:
            raise ValueError(f"model.hidden={list(hidden)}; expected one positive size a layer")
        widths = [spec.step_shape[0], *hidden]
        linears = [nn.Linear(i, o, bias=False) for i, o in pairwise(widths)]
        neurons = [neuron(n, time_dim=1, channel_dim=2) for n in hidden]
        for linear, spiking in zip(linears, neurons, strict=True):
            std = spiking.initial_weight_std(weight_std)
            nn.init.normal_(linear.weight, 0.0, std / math.sqrt(linear.in_features))
        self.linears, self.neurons = nn.ModuleList(linears), nn.ModuleList(neurons)
        sizes = (hidden[-1], len(spec.classes))
        self.readout: LeakyMean | NormalisedReadout
        if readout == "leaky_mean":
            self.readout = LeakyMean(*sizes, weight_std=weight_std, decay=readout_decay)
        else:
            self.readout = NormalisedReadout(
                *sizes, mode=readout, weight_std=weight_std, decay=readout_decay
            )
            nn.init.ones_(self.readout.offset)

    def forward(self, x: Tensor) -> ModelOutput:
        """Map x [T, B, N] to scores [B, K]."""
        # batch first is how loaders store it: one matrix product without a copy
        s_BTN = x.transpose(0, 1)
        for linear, spiking in zip(self.linears, self.neurons, strict=True):
            s_BTN = spiking(linear(s_BTN), weight=linear.weight).spikes
        scores, trace = self.readout(s_BTN.transpose(0, 1), trace=not self.training)
        return ModelOutput(scores, trace)


class LeakyMean(nn.Module):
    """Mean over time of a leaky integrator of weighted spikes, normalised as the spiking layers.

    (1) u[t] = decay u[t-1] + (1 - decay) W s[t],  u[-1] = 0
    (2) y = mean over t of u[t],  score_k = y_k / (||w_k||^2 + 1e-8) - b_k

    With decay and b learned; decay is one for the layer and is kept in [0, 1]. As (1) is linear,

    (3) y = W sum over t of (1 - decay^(T-t)) s[t] / T,

    which training computes: one product instead of T. Where the trace is asked for (evaluation)
    the layer sees the spikes themselves, so that its operations are counted as what they are.
    """

    def __init__(self, inputs: int, classes: int, *, weight_std: float, decay: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes, bias=False)
        nn.init.normal_(self.linear.weight, 0.0, weight_std / math.sqrt(inputs))
        self.offset = nn.Parameter(torch.ones(classes))
        self.integrator = LI(decay=decay, decay_input=True)

    def forward(self, spikes_TBN: Tensor, *, trace: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return scores [B, K] and, where asked for, their course over time [T, B, K]."""
        if trace:
            u_TBK = self._normalise(self.integrator(self.linear(spikes_TBN)))
            return u_TBK.mean(0), u_TBK
        steps = len(spikes_TBN)
        left_T = torch.arange(steps, 0, -1, device=spikes_TBN.device)
        share_T = (1 - self.integrator.decay**left_T) / steps
        weighed_BN = torch.einsum("tbn,t->bn", spikes_TBN, share_T.to(spikes_TBN.dtype))
        return self._normalise(self.linear(weighed_BN)), None

    def _normalise(self, y: Tensor) -> Tensor:
        norm_K = self.linear.weight.square().sum(1) + EPS
        return y / norm_K - self.offset
