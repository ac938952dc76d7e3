"""What both providers of the S4NN kernel take and give: constants, weights, figures.

Letters: N images, I inputs of a layer, J its units, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnexp.kernels.s4nn.latency import SpikeTrains

#: one matrix [I, J] a layer, float32 or float64, C order: row i holds all synapses of input i
Weights = tuple[NDArray[Any], ...]
Times = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class S4NNRule:
    """Constants of the network and its learning rule; one entry a layer where there are several.

    `threshold` is compared with a strict `>`; `lr` and `l2` are the step size and the decay rate
    lambda; `gamma` is the margin in time steps between the first output and the wrong ones;
    `t_max` is both the number of steps and the time of a unit that never fired.
    """

    threshold: tuple[float, ...]
    lr: tuple[float, ...]
    l2: tuple[float, ...]
    gamma: int
    t_max: int

    def __post_init__(self) -> None:
        if not len(self.threshold) == len(self.lr) == len(self.l2) > 0:
            raise ValueError(
                "threshold, lr and l2 need one value a layer, got "
                f"{len(self.threshold)}, {len(self.lr)} and {len(self.l2)}"
            )
        if any(lr * l2 >= 1 or l2 < 0 for lr, l2 in zip(self.lr, self.l2, strict=True)):
            raise ValueError(f"lr * l2 must lie in [0, 1), got lr {self.lr} and l2 {self.l2}")
        if not 0 < self.gamma < self.t_max:
            raise ValueError(f"gamma must lie in 1..t_max-1, got {self.gamma} of {self.t_max}")

    @property
    def fallback_time(self) -> int:
        """The step whose potentials decide where no output fired: t_max - gamma (253)."""
        return self.t_max - self.gamma

    def with_rates(self, lr: Sequence[float]) -> S4NNRule:
        """Return the same rule with other step sizes."""
        return replace(self, lr=tuple(lr))


@dataclass
class Inference:
    """Spike times [N, J] of each layer, and the output potentials [N, K] that break ties.

    `potential` is V at the step of the first output spike, or at `fallback_time` where none fired.
    """

    times: tuple[Times, ...]
    potential: NDArray[Any]


@dataclass
class TrainFigures:
    """What one pass over the training images showed, each image seen before its own update.

    `loss` is the mean of 1/2 sum_k e_k^2, with e before normalisation; `moved` counts the images
    whose error was not zero, `fired[l][j]` those on which unit j of layer l fired in time. `time`
    is the mean spike time of each layer, silent units counting as t_max. `output` has the times and
    potentials of the last layer.
    """

    loss: float
    moved: int
    fired: tuple[NDArray[np.int64], ...]
    time: tuple[float, ...]
    output: Inference


def check(
    weights: Weights,
    trains: SpikeTrains,
    rule: S4NNRule,
    labels: NDArray[np.integer] | None = None,
) -> None:
    """Raise unless weights, trains, rule and labels fit each other.

    The kernels index without bounds checks, so nothing may reach them unchecked. ValueError for a
    wrong shape or value, TypeError for a wrong dtype.
    """
    if not len(weights) == len(rule.threshold):
        raise ValueError(f"{len(weights)} weight matrices but constants for {len(rule.threshold)}")
    if trains.t_max != rule.t_max:
        raise ValueError(f"spikes were coded with t_max {trains.t_max}, the rule has {rule.t_max}")
    width = trains.n_pixels
    for layer, w in enumerate(weights):
        if w.ndim != 2 or w.shape[0] != width or w.shape[1] == 0:
            raise ValueError(f"weights of layer {layer} must be [{width}, units], got {w.shape}")
        if w.dtype not in (np.float32, np.float64) or w.dtype != weights[0].dtype:
            raise TypeError(f"weights must all be float32 or all float64, got {w.dtype}")
        width = w.shape[1]
    if labels is None:
        return
    if len(labels) != len(trains):
        raise ValueError(f"{len(trains)} images but {len(labels)} labels")
    if len(labels) and not 0 <= labels.min() <= labels.max() < width:
        raise ValueError(f"labels must lie in 0..{width - 1}, got {labels.min()}..{labels.max()}")
