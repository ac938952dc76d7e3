"""S4NN with Numba: the equations of `reference`, walking spikes instead of time steps.

What makes it quick, for 784-400-10 on MNIST (150 spikes an image):
- Input spikes come sorted (`latency`); a row of weights is added a spike, not a time step.
- Blocks of units are left early, see `walk.fire` and `walk.step`.
- (7) would touch all weights for each image. It is kept as one factor a layer instead,
  w = scale * stored, in float64, and multiplied in at the end: in float32 this is also the more
  exact way, because 1 - lr lambda = 1 - 2e-7 is barely above the resolution of a weight.

All layers lie in one flat array, so that one compilation a dtype serves every depth.

Letters: N images, U units of all layers together, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from snnexp.kernels.s4nn import walk
from snnexp.kernels.s4nn.latency import SpikeTrains
from snnexp.kernels.s4nn.rule import Inference, S4NNRule, TrainFigures, Weights, check


def _pack(weights: Weights, rule: S4NNRule) -> walk.Net:
    """Copy the weights into one flat array."""
    sizes = [weights[0].shape[0], *(w.shape[1] for w in weights)]
    return walk.Net(
        flat=np.concatenate([w.ravel() for w in weights]),
        scale=np.ones(len(weights)),
        offset=np.cumsum([0, *(w.size for w in weights)]),
        size=np.array(sizes),
        first=np.cumsum([0, *sizes[1:]]),
        threshold=np.array(rule.threshold, np.float64),
        lr=np.array(rule.lr, np.float64),
        l2=np.array(rule.l2, np.float64),
        gamma=rule.gamma,
        t_max=rule.t_max,
    )


def _scratch(net: walk.Net, rows: int) -> walk.Scratch:
    """Return working memory for `rows` images; each entry is written before it is read."""
    n_units, dtype = int(net.first[-1]), net.flat.dtype
    return walk.Scratch(
        t=np.empty((rows, n_units), np.int32),
        v=np.empty((rows, n_units), dtype),
        e=np.empty((rows, n_units), dtype),
        pixel=np.empty((rows, n_units), np.int32),
        time=np.empty((rows, n_units), np.int32),
        n_spikes=np.empty((rows, len(net.scale)), np.int64),
        tally=np.empty((rows, net.t_max + 1), np.int64),
    )


def train(
    weights: Weights,
    trains: SpikeTrains,
    labels: NDArray[np.integer],
    rule: S4NNRule,
    batch: int = 1,
) -> TrainFigures:
    """Learn from all images once, in the order given, changing the weights in place.

    `batch` = 1 is the paper's rule, on one core. With a larger one (a deviation, see
    `reference.update`) images and units are spread over the cores.
    """
    check(weights, trains, rule, labels)
    net = _pack(weights, rule)
    n_units, n_outputs = int(net.first[-1]), weights[-1].shape[1]
    seen = walk.Seen(
        totals=np.zeros(2),
        fired=np.zeros(n_units, np.int64),
        time=np.zeros(n_units, np.int64),
        t=np.empty((len(trains), n_outputs), np.int32),
        v=np.empty((len(trains), n_outputs), net.flat.dtype),
    )
    learn = walk.learn_serial if batch == 1 else walk.learn_parallel
    images = walk.Images(trains.start, trains.pixel, trains.time)
    learn(net, images, labels.astype(np.int64), batch, _scratch(net, batch), seen)
    for layer, w in enumerate(weights):
        w[...] = net.flat[net.offset[layer] : net.offset[layer + 1]].reshape(w.shape)
    return TrainFigures(
        loss=float(seen.totals[0]) / len(trains),
        moved=int(seen.totals[1]),
        fired=tuple(np.split(seen.fired, net.first[1:-1])),
        time=tuple(float(t.mean()) / len(trains) for t in np.split(seen.time, net.first[1:-1])),
        output=Inference((seen.t,), seen.v),
    )


def train_replicas(
    replicas: Sequence[Weights],
    trains: SpikeTrains,
    labels: NDArray[np.integer],
    rule: S4NNRule,
    threads: int,
) -> list[TrainFigures]:
    """Run `train` for several independent networks at once, one a core; each result is as alone."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda weights: train(weights, trains, labels, rule), replicas))


def infer(weights: Weights, trains: SpikeTrains, rule: S4NNRule) -> Inference:
    """Return spike times and deciding potentials of all images, spread over the cores."""
    check(weights, trains, rule)
    net = _pack(weights, rule)
    t_NU = np.empty((len(trains), int(net.first[-1])), np.int32)
    v_NK = np.empty((len(trains), weights[-1].shape[1]), net.flat.dtype)
    images = walk.Images(trains.start, trains.pixel, trains.time)
    walk.infer(net, images, _scratch(net, -(-len(trains) // walk.CHUNK)), t_NU, v_NK)
    return Inference(tuple(np.split(t_NU, net.first[1:-1], axis=1)), v_NK)
