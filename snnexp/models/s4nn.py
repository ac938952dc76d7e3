"""S4NN: a network in which every unit spikes at most once, and earlier means more.

Letters: T time, B batch, I inputs of a layer, J its units, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.kernels.backend import Backend, Provider
from snnexp.kernels.s4nn import Inference, S4NNRule, SpikeTrains, provider, scores
from snnexp.models.base import Model, ModelOutput
from snnexp.neurons.base import Neuron


class LatencyOutput(NamedTuple):
    """A `NeuronOutput` with spike times.

    `spikes` [T, B, J] and `count` [B, J] are 0 or 1. `v` [B, J] is the potential that decides where
    units tie: at the step of the layer's first spike, or at t_max - gamma where none fired. `time`
    [B, J] int32 is t_max where a unit never fired.
    """

    spikes: Tensor
    v: Tensor
    count: Tensor  # type: ignore[assignment] # the field's name hides tuple.count
    time: Tensor


class LatencyIF(Neuron):
    """A layer of non-leaky units with instantaneous synapses, each of which fires at most once.

        V_j(t) = sum_i w_ij [t_i <= t]                                                    (1)
        t_j    = 1 + min {t : V_j(t) > threshold}, at most t_max                          (2)

    Kheradpisheh & Masquelier 2020; `snnexp.kernels.s4nn.reference` has the whole. `weight` [I, J]
    starts uniform in [low, high) = init and is no gradient's business: the rule s4nn changes it.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        init: tuple[float, float],
        constants: S4NNRule,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(units, time_dim=0, channel_dim=2)
        self.constants, self.init = constants, init
        drawn = torch.empty(inputs, units, dtype=dtype).uniform_(*init)
        self.weight = nn.Parameter(drawn, requires_grad=False)

    def redraw(self, units: Tensor) -> None:
        """Give the units that a mask [J] marks new weights, from where all weights started."""
        fresh = torch.empty(len(self.weight), int(units.sum())).uniform_(*self.init)
        self.weight[:, units] = fresh.to(self.weight)

    def forward(  # type: ignore[override] # trains of spikes, not a grid of steps
        self, trains: SpikeTrains, backend: Backend
    ) -> LatencyOutput:
        """Run the layer on the spikes of its input."""
        found = provider(backend).infer((array(self.weight),), trains, self.constants)
        time_BJ = torch.from_numpy(found.times[0]).to(self.weight.device)
        t_max = self.constants.t_max
        # unfired units go to a step of their own, which is cut off
        grid = torch.zeros(t_max + 1, *time_BJ.shape, dtype=torch.bool, device=time_BJ.device)
        grid.scatter_(0, time_BJ[None].long(), True)
        return LatencyOutput(
            spikes=grid[:t_max],
            v=torch.from_numpy(found.potential).to(self.weight.device),
            count=(time_BJ < t_max).float(),
            time=time_BJ,
        )


class S4NN(Model):
    """Fully connected layers of `LatencyIF`, fed by latency-coded pixels; the first output wins.

    784-400-10 for MNIST: 317,600 weights. It takes images as bytes (`task.normalise=none`) and
    gives one score a class whose whole part is t_max minus its spike time, and whose fraction is
    the rank of its potential, so that the argmax breaks ties by potential
    (snnexp.kernels.s4nn.scores).

    `init`: range of the initial weights, one a layer: its upper end, where it starts at 0 as the
    authors' does, or [low, high]. `gamma`: margin of the learning targets;
    t_max - gamma is also when potentials decide where no output fired. `dtype`: of the weights; the
    authors' code has float64, float32 halves the traffic of the weights. `label_order`: the
    class of each output unit (null: unit k is class k), which the authors' code permutes.
    `hidden`: any number of layers; the paper has one of 400.
    """

    alternatives = "plif_net for images; conv_snn, fc_snn for sequences"
    unit_of_class: Tensor

    def __init__(
        self,
        spec: TaskSpec,
        *,
        hidden: list[int],
        threshold: float,
        init: Sequence[float | Sequence[float]],
        gamma: int,
        t_max: int,
        dtype: Literal["float32", "float64"],
        label_order: list[int] | None,
        backend: Backend,
    ) -> None:
        super().__init__(spec)
        self.require(spec.kind == "classification" and spec.static, "static images of classes")
        sizes = [int(np.prod(spec.step_shape)), *hidden, len(spec.classes)]
        if len(init) != len(sizes) - 1:
            raise ValueError(
                f"model.init has {len(init)} values, but model.hidden={hidden} makes "
                f"{len(sizes) - 1} layers"
            )
        pairs = [[0.0, u] if isinstance(u, int | float) else list(u) for u in init]
        if not all(len(p) == 2 and p[0] < p[1] for p in pairs):
            raise ValueError(
                f"model.init={list(init)}: each entry must be an upper end above 0, or [low, high]"
            )
        if label_order is not None and sorted(label_order) != list(range(sizes[-1])):
            raise ValueError(
                f"model.label_order must hold each of 0..{sizes[-1] - 1} once: {label_order}"
            )
        provider(backend)
        self.gamma, self.t_max, self.backend = gamma, t_max, backend
        self.threshold = threshold
        constants = self.constants([0.0], [0.0])
        self.layers = nn.ModuleList(
            LatencyIF(inputs, units, (low, high), constants, getattr(torch, dtype))
            for (inputs, units), (low, high) in zip(itertools.pairwise(sizes), pairs, strict=True)
        )
        order = torch.tensor(label_order or range(sizes[-1]))
        self.register_buffer("unit_of_class", order.argsort(), persistent=False)

    def providers(self, device: torch.device) -> set[Provider]:
        """Return the one provider that learns and infers, always on the CPU."""
        return {"reference" if self.backend == "reference" else "cpu"}

    @property
    def stack(self) -> list[LatencyIF]:
        """The layers, from the input on."""
        return cast(list[LatencyIF], list(self.layers))

    def constants(self, lr: Sequence[float], l2: Sequence[float]) -> S4NNRule:
        """Return the constants of as many layers as there are rates."""
        return S4NNRule(
            threshold=(self.threshold,) * len(lr),
            lr=tuple(lr),
            l2=tuple(l2),
            gamma=self.gamma,
            t_max=self.t_max,
        )

    def encode(self, x: Tensor) -> SpikeTrains:
        """Turn images of bytes [B, ...] into spikes."""
        if x.dtype != torch.uint8:
            raise TypeError(
                f"S4NN codes bytes of 0..255 by latency, but the images are {x.dtype}; give "
                "task.normalise=none"
            )
        return SpikeTrains.from_images(x.cpu().numpy(), self.t_max)

    def scores_of(self, output: Inference) -> Tensor:
        """Return scores [B, K] in the order of the classes."""
        by_unit = torch.from_numpy(scores(output, self.t_max)).to(self.unit_of_class.device)
        return by_unit[:, self.unit_of_class]

    def forward(self, x: Tensor) -> ModelOutput:
        """Map images of bytes [B, ...] to scores [B, K]."""
        trains = self.encode(x)
        for layer in self.stack:
            fired: LatencyOutput = layer(trains, self.backend)
            trains = SpikeTrains.from_times(fired.time.cpu().numpy(), self.t_max)
        output = Inference((fired.time.cpu().numpy(),), fired.v.cpu().numpy())
        return ModelOutput(self.scores_of(output))


def array(weight: Tensor) -> NDArray[np.floating]:
    """Return the weights as an array: the same memory on the CPU, a copy elsewhere."""
    return weight.detach().cpu().numpy()
