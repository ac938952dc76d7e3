"""S4NN in plain NumPy: the specification of the latency-coded network and its learning rule.

Kheradpisheh & Masquelier, "Temporal backpropagation for spiking neural networks with one spike per
neuron", Int. J. Neural Systems 30(6), 2020 (arXiv 1910.09495). Every unit spikes at most once, and
times are integers 0..t_max. Layer l has weights w_ij (input i, unit j), threshold v_th, step size
lr and decay rate lambda.

Forward, non-leaky integrate-and-fire with instantaneous synapses:

    V_j(t) = sum_i w_ij [t_i <= t]                                                        (1)
    t_j    = 1 + min {t : V_j(t) > v_th}, at most t_max; t_max where there is none        (2)

so a layer adds one step of delay, and a crossing at t_max - 1 counts as silent.

Targets, relative to the first output tau = min_k t_k, with label c:

    tau < t_max:  T_k = min(tau + gamma, t_max) where t_k - tau < gamma, else t_k; T_c = tau  (3)
    tau = t_max:  T_k = t_max; T_c = t_max - gamma                                            (4)

Learning, after each image, from the last layer to the first:

    e_k  = (T_k - t_k) / t_max, divided by its L2 norm                                    (5)
    w_ij <- w_ij - lr e_j [t_i < t_j]                                                     (6)
    w_ij <- w_ij - lr lambda w_ij                                                         (7)
    e_i  = sum_j e_j [t_i < t_j] w_ij, divided by its L2 norm: the error of the layer below   (8)

(8) reads the weights that (6) and (7) have just changed. A zero error is left zero.

Letters: N images, I inputs of a layer, J its units, K classes, B images of one step.
Sums run in the order (time, index), as in the kernel, so that both agree to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnexp.kernels.s4nn.latency import SpikeTrains
from snnexp.kernels.s4nn.rule import Inference, S4NNRule, Times, TrainFigures, Weights, check


def potentials(times_I: Times, w_IJ: NDArray[Any], t_max: int) -> NDArray[Any]:
    """Return V [t_max + 1, J] of (1)."""
    v_TJ = np.zeros((t_max + 1, w_IJ.shape[1]), w_IJ.dtype)
    v_J = np.zeros(w_IJ.shape[1], w_IJ.dtype)
    for t in range(t_max + 1):
        for i in np.flatnonzero(times_I == t):
            v_J = v_J + w_IJ[i]
        v_TJ[t] = v_J
    return v_TJ


def fire(v_TJ: NDArray[Any], threshold: float, t_max: int) -> Times:
    """Return the spike times [J] of (2)."""
    above_TJ = v_TJ > threshold
    first_J = np.where(above_TJ.any(0), above_TJ.argmax(0) + 1, t_max)
    return np.minimum(first_J, t_max).astype(np.int32)


def targets(times_K: Times, label: int, gamma: int, t_max: int) -> Times:
    """Return the wished spike times [K] of (3) and (4)."""
    first = int(times_K.min())
    if first == t_max:
        wished_K = np.full_like(times_K, t_max)
        wished_K[label] = t_max - gamma
        return wished_K
    wished_K = np.where(times_K - first < gamma, min(first + gamma, t_max), times_K)
    wished_K[label] = first
    return wished_K.astype(np.int32)


def normalise(e: NDArray[Any]) -> NDArray[Any]:
    """Divide by the L2 norm, summed in float64 from the first entry on; zero stays zero."""
    square = 0.0
    for value in e:
        square += float(value) * float(value)
    return e if square == 0 else (e / np.sqrt(square)).astype(e.dtype)


def forward(times_I: Times, weights: Weights, rule: S4NNRule) -> tuple[list[Times], NDArray[Any]]:
    """Return the spike times of the input and of each layer, and V [t_max + 1, K] of the last."""
    times = [times_I]
    for w_IJ, v_th in zip(weights, rule.threshold, strict=True):
        v_TJ = potentials(times[-1], w_IJ, rule.t_max)
        times.append(fire(v_TJ, v_th, rule.t_max))
    return times, v_TJ


def output_error(times_K: Times, label: int, rule: S4NNRule, dtype: Any) -> NDArray[Any]:
    """Return e_k = (T_k - t_k) / t_max, not yet normalised."""
    wished_K = targets(times_K, label, rule.gamma, rule.t_max)
    return ((wished_K - times_K) / rule.t_max).astype(dtype)


def update(
    times_BL: list[list[Times]], error_BK: list[NDArray[Any]], weights: Weights, rule: S4NNRule
) -> None:
    """Apply (6)-(8) in place for B images at once; B = 1 is the paper's rule.

    With B > 1 the steps (6) of all images are added before (7), which is applied B times: a
    deviation, for an image no longer sees the weights its predecessor left.
    """
    for layer in reversed(range(len(weights))):
        w_IJ, dtype = weights[layer], weights[layer].dtype.type
        lr, l2 = rule.lr[layer], rule.l2[layer]
        error_BK = [normalise(e) for e in error_BK]
        causal_BIJ = [times[layer][:, None] < times[layer + 1][None, :] for times in times_BL]
        for e_J, causal_IJ in zip(error_BK, causal_BIJ, strict=True):
            w_IJ -= np.where(causal_IJ, dtype(lr) * e_J, dtype(0))
        w_IJ *= dtype((1 - lr * l2) ** len(times_BL))
        error_BK = [
            _weighted_sum(w_IJ, e_J, causal_IJ)
            for e_J, causal_IJ in zip(error_BK, causal_BIJ, strict=True)
        ]


def _weighted_sum(
    w_IJ: NDArray[Any], e_J: NDArray[Any], causal_IJ: NDArray[np.bool_]
) -> NDArray[Any]:
    """Return sum_j e_j [t_i < t_j] w_ij, summed from the first unit on."""
    total_I = np.zeros(len(w_IJ), w_IJ.dtype)
    for j, e in enumerate(e_J):
        total_I = total_I + np.where(causal_IJ[:, j], e * w_IJ[:, j], w_IJ.dtype.type(0))
    return total_I


def dense_times(trains: SpikeTrains, n: int) -> Times:
    """Return the spike times [P] of image n; t_max where a pixel never fires."""
    times_P = np.full(trains.n_pixels, trains.t_max, np.int32)
    own = slice(int(trains.start[n]), int(trains.start[n + 1]))
    times_P[trains.pixel[own]] = trains.time[own]
    return times_P


def train(
    weights: Weights,
    trains: SpikeTrains,
    labels: NDArray[np.integer],
    rule: S4NNRule,
    batch: int = 1,
) -> TrainFigures:
    """Learn from all images once, in the order given, changing the weights in place."""
    check(weights, trains, rule, labels)
    loss, moved = 0.0, 0
    fired = tuple(np.zeros(w.shape[1], np.int64) for w in weights)
    summed = np.zeros(len(weights))
    seen, potential = [], []
    for lo in range(0, len(trains), batch):
        times_BL, error_BK = [], []
        for n in range(lo, min(lo + batch, len(trains))):
            times, v_TK = forward(dense_times(trains, n), weights, rule)
            error_K = output_error(times[-1], int(labels[n]), rule, v_TK.dtype)
            times_BL.append(times)
            error_BK.append(error_K)
            seen.append(times[-1])
            potential.append(deciding(times[-1], v_TK, rule))
            loss += 0.5 * float((error_K.astype(np.float64) ** 2).sum())
            moved += bool(error_K.any())
            for layer, times_J in enumerate(times[1:]):
                fired[layer][...] += times_J < rule.t_max
                summed[layer] += times_J.mean()
        update(times_BL, error_BK, weights, rule)
    mean = tuple(float(t) / len(trains) for t in summed)
    output = Inference((np.stack(seen),), np.stack(potential))
    return TrainFigures(loss / len(trains), moved, fired, mean, output)


def deciding(times_K: Times, v_TK: NDArray[Any], rule: S4NNRule) -> NDArray[Any]:
    """Return V at the step of the first output spike; at t_max - gamma where none fired."""
    first = int(times_K.min())
    return v_TK[rule.fallback_time if first == rule.t_max else first - 1]


def infer(weights: Weights, trains: SpikeTrains, rule: S4NNRule) -> Inference:
    """Return spike times and deciding potentials of all images."""
    check(weights, trains, rule)
    times: list[list[Times]] = [[] for _ in weights]
    potential = []
    for n in range(len(trains)):
        times_L, v_TK = forward(dense_times(trains, n), weights, rule)
        for own, t in zip(times, times_L[1:], strict=True):
            own.append(t)
        potential.append(deciding(times_L[-1], v_TK, rule))
    return Inference(tuple(np.stack(t) for t in times), np.stack(potential))
