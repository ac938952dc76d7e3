"""The S4NN kernel against its plain reference, and the reference against hand-computed cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from snnexp.kernels.backend import BackendError
from snnexp.kernels.s4nn import (
    Inference,
    S4NNRule,
    SpikeTrains,
    count_right,
    cpu,
    provider,
    reference,
    scores,
)
from snnexp.kernels.s4nn.latency import latency

T_MAX = 256


def rule(layers: int, *, lr: float, l2: float, t_max: int = T_MAX, gamma: int = 3, threshold=1.0):
    return S4NNRule(
        threshold=(threshold,) * layers,
        lr=(lr,) * layers,
        l2=(l2,) * layers,
        gamma=gamma,
        t_max=t_max,
    )


def problem(sizes, t_max, dtype, images=12, seed=0):
    """Random spike times with silent pixels and equal times, and weights that make units fire."""
    rng = np.random.default_rng(seed)
    times = rng.integers(0, t_max + 1, (images, sizes[0]))
    times[rng.random(times.shape) < 0.3] = t_max
    times[0] = t_max  # an image without a spike
    weights = tuple(
        rng.uniform(-2, 6 / math.sqrt(i) + 0.5, (i, j)).astype(dtype)
        for i, j in itertools.pairwise(sizes)
    )
    return SpikeTrains.from_times(times, t_max), rng.integers(0, sizes[-1], images), weights


def copies(weights):
    return tuple(w.copy() for w in weights)


# --- latency code ---------------------------------------------------------------------------------


def test_latency_is_the_papers_floor():
    code = latency(np.arange(256, dtype=np.uint8), T_MAX)
    assert [code[i] for i in (255, 254, 128, 1, 0)] == [0, 1, 127, 254, 256]
    assert 255 not in code  # black jumps over the last step
    assert (np.diff(code) < 0).all()


def test_trains_are_sorted_by_time_then_pixel():
    images = np.random.default_rng(1).integers(0, 256, (5, 3, 7)).astype(np.uint8)
    images[2] = 0
    trains = SpikeTrains.from_images(images, T_MAX)
    assert len(trains) == 5
    assert trains.n_pixels == 21
    for n, image in enumerate(images):
        times = latency(image.ravel(), T_MAX)
        order = [p for p in np.argsort(times, kind="stable") if times[p] < T_MAX]
        own = slice(trains.start[n], trains.start[n + 1])
        assert trains.pixel[own].tolist() == order
        assert trains.time[own].tolist() == times[order].tolist()
        assert (reference.dense_times(trains, n) == times).all()


def test_trains_refuse_what_they_cannot_code():
    with pytest.raises(TypeError, match="uint8"):
        SpikeTrains.from_images(np.zeros((1, 4), np.float32), T_MAX)
    with pytest.raises(ValueError, match=r"0\.\.256"):
        SpikeTrains.from_times(np.array([[257]]), T_MAX)


# --- the reference, by hand -----------------------------------------------------------------------


def test_a_unit_fires_one_step_after_it_crosses_and_only_above_threshold():
    times = np.array([0, 2, 2, 5], np.int32)
    weights = np.array([[1.0, 0.5], [1.0, 0.25], [1.0, 0.25], [1.0, 0.5]])
    v = reference.potentials(times, weights, t_max=8)
    assert v[:, 0].tolist() == [1, 1, 3, 3, 3, 4, 4, 4, 4]
    # unit 1 reaches exactly 1.0 at t = 2: not above it, so it waits for t = 5
    assert reference.fire(v, 1.0, 8).tolist() == [3, 6]


def test_a_crossing_in_the_last_step_but_one_counts_as_silent():
    weights = np.array([[2.0]])
    fired = [
        int(reference.fire(reference.potentials(np.array([t]), weights, 8), 1.0, 8)[0])
        for t in range(9)
    ]
    assert fired == [1, 2, 3, 4, 5, 6, 7, 8, 8]


@pytest.mark.parametrize(
    ("times", "label", "wished"),
    [
        ([10, 12, 13, 256], 0, [10, 13, 13, 256]),  # right and first: too close ones pushed away
        ([10, 12, 13, 256], 3, [13, 13, 13, 10]),  # wrong: the label is wished first
        ([10, 10, 20, 30], 1, [13, 10, 20, 30]),  # a tie is an error of the other
        ([255, 256, 256, 256], 1, [256, 255, 256, 256]),  # capped at t_max
        ([256, 256, 256, 256], 2, [256, 256, 253, 256]),  # silent
    ],
)
def test_targets(times, label, wished):
    assert reference.targets(np.array(times, np.int32), label, 3, T_MAX).tolist() == wished


def test_one_update_by_hand():
    """Two inputs, one layer of two outputs, label 1 too late: its causal weights grow."""
    trains = SpikeTrains.from_times(np.array([[0, 4]]), 16)
    weights = (np.array([[2.0, 0.0], [5.0, 2.0]]),)
    # t = [1, 5]: tau 1, T = [4, 1], e = [3, -4] / 16, normalised to [0.6, -0.8]
    reference.train(weights, trains, np.array([1]), rule(1, lr=0.5, l2=0.5, t_max=16))
    decay = 0.75
    expected = np.array([[2 - 0.3, 0.0 + 0.4], [5.0, 2 + 0.4]]) * decay
    np.testing.assert_allclose(weights[0], expected, rtol=1e-15)


def test_hidden_error_reads_the_updated_output_weights():
    """One input, one hidden unit, two outputs; the hidden error's sign shows which W was read."""
    trains = SpikeTrains.from_times(np.array([[0]]), 16)
    weights = (np.array([[2.0]]), np.array([[2.0, 0.5]]))
    # t_hidden 1; t_out = [2, 16], label 1: e = (5-2, 2-16)/16, direction (3, -14)
    e = np.array([3.0, -14.0]) / math.hypot(3, 14)
    updated = weights[1][0] - 1.0 * e
    assert np.sign(e @ weights[1][0]) == -np.sign(e @ np.array([2.0, 0.1]))
    reference.train(weights, trains, np.array([1]), rule(2, lr=1.0, l2=0.0, t_max=16))
    np.testing.assert_allclose(weights[1][0], updated)
    np.testing.assert_allclose(weights[0][0, 0], 2.0 - np.sign(e @ updated))


def test_met_targets_change_nothing_but_the_decay():
    trains = SpikeTrains.from_times(np.array([[0, 9]]), 32)
    weights = (
        np.array([[2.0, 0.0], [0.0, 2.0]]),
    )  # t = [1, 10], label 0: further apart than gamma
    before = weights[0].copy()
    figures = cpu.train(weights, trains, np.array([0]), rule(1, lr=0.5, l2=0.5, t_max=32))
    assert figures.moved == 0
    assert (weights[0] == before * 0.75).all()


# --- the kernel against the reference -------------------------------------------------------------

SIZES = [(1, 1), (7, 3), (13, 70, 4), (9, 5, 130, 3), (5, 65, 64, 63, 2)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("lr", "l2"), [(0.25, 0.0), (0.5, 1.0)])
def test_training_equals_the_reference_to_the_last_bit(sizes, dtype, lr, l2):
    """The decay is 0 or halves: exact in every dtype, so that the kernel's factor is, too."""
    trains, labels, weights = problem(sizes, 24, dtype)
    constants = rule(len(weights), lr=lr, l2=l2, t_max=24)
    a, b = copies(weights), copies(weights)
    one = reference.train(a, trains, labels, constants)
    two = cpu.train(b, trains, labels, constants)
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype == dtype
        np.testing.assert_array_equal(x, y)
    assert one.moved == two.moved
    assert one.loss == pytest.approx(two.loss, rel=1e-6)
    assert one.time == pytest.approx(two.time, rel=1e-12)
    for x, y in zip(one.fired, two.fired, strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(one.output.times[0], two.output.times[0])
    np.testing.assert_array_equal(one.output.potential, two.output.potential)


@pytest.mark.parametrize("batch", [2, 5, 64])
def test_a_batch_equals_the_reference(batch):
    trains, labels, weights = problem((13, 70, 4), 24, np.float64)
    constants = rule(2, lr=0.25, l2=0.0, t_max=24)
    a, b = copies(weights), copies(weights)
    one = reference.train(a, trains, labels, constants, batch)
    two = cpu.train(b, trains, labels, constants, batch)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
    assert one.moved == two.moved
    np.testing.assert_array_equal(one.output.times[0], two.output.times[0])


@pytest.mark.parametrize("batch", [1, 5])
def test_a_small_decay_agrees_within_rounding(batch):
    trains, labels, weights = problem((13, 20, 4), T_MAX, np.float64, images=40)
    constants = rule(2, lr=0.2, l2=1e-3)
    a, b = copies(weights), copies(weights)
    reference.train(a, trains, labels, constants, batch)
    cpu.train(b, trains, labels, constants, batch)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(
        reference.infer(a, trains, constants).times[-1],
        reference.infer(b, trains, constants).times[-1],
    )


def test_a_strong_decay_does_not_underflow():
    trains, labels, weights = problem((5, 3), 24, np.float32, images=200)
    constants = rule(1, lr=0.5, l2=1.0, t_max=24)
    a, b = copies(weights), copies(weights)
    reference.train(a, trains, labels, constants)
    cpu.train(b, trains, labels, constants)
    np.testing.assert_array_equal(a[0], b[0])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("images", [1, 12, 130])
def test_inference_equals_the_reference_to_the_last_bit(sizes, images):
    trains, _, weights = problem(sizes, 24, np.float32, images=images)
    constants = rule(len(weights), lr=0.1, l2=0.0, t_max=24)
    one = reference.infer(weights, trains, constants)
    two = cpu.infer(weights, trains, constants)
    for x, y in zip(one.times, two.times, strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(one.potential, two.potential)


def test_replicas_learn_as_if_alone():
    trains, labels, first = problem((13, 70, 4), 24, np.float32)
    second = problem((13, 70, 4), 24, np.float32, seed=1)[2]
    constants = rule(2, lr=0.25, l2=1e-3, t_max=24)
    together = [copies(first), copies(second)]
    figures = cpu.train_replicas(together, trains, labels, constants, threads=2)
    for weights, start, told in zip(together, (first, second), figures, strict=True):
        alone = copies(start)
        assert cpu.train(alone, trains, labels, constants).loss == told.loss
        for x, y in zip(weights, alone, strict=True):
            np.testing.assert_array_equal(x, y)


def test_learning_solves_a_small_problem():
    """Two bright halves, told apart by a hidden layer within a few epochs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    images = rng.integers(0, 60, (300, 16)).astype(np.uint8)
    for n, label in enumerate(labels):
        images[n, label * 8 : label * 8 + 8] += rng.integers(100, 190, 8).astype(np.uint8)
    trains = SpikeTrains.from_images(images, T_MAX)
    weights = (rng.uniform(0, 5, (16, 20)), rng.uniform(0, 10, (20, 2)))
    constants = rule(2, lr=0.2, l2=1e-6, threshold=10.0)
    first = cpu.train(weights, trains, labels, constants)
    for _ in range(5):
        last = cpu.train(weights, trains, labels, constants)
    right = count_right(scores(last.output, T_MAX), labels)
    assert right["potential"] > 290
    assert last.moved < first.moved


# --- decisions ------------------------------------------------------------------------------------


def test_the_three_rules_of_counting():
    times = np.array(
        [
            [5, 9, 9],  # 0: alone first
            [5, 5, 9],  # 0: tie, the smaller potential
            [5, 5, 9],  # 1: tie, the larger potential
            [5, 5, 9],  # 2: wrong
            [T_MAX] * 3,  # 2: silent, the largest potential
            [T_MAX] * 3,  # 0: silent, not the largest
        ],
        np.int32,
    )
    potential = np.array([[2, 0, 0], [2, 3, 9], [2, 3, 9], [2, 3, 9], [-5, -4, -3], [-5, -4, -3]])
    target = np.array([0, 0, 1, 2, 2, 0])
    counted = count_right(scores(Inference((times,), potential), T_MAX), target)
    assert counted == {"ties_right": 4, "potential": 3, "unique": 1}


def test_scores_hold_the_times_exactly():
    rng = np.random.default_rng(3)
    times = rng.integers(1, T_MAX + 1, (500, 10)).astype(np.int32)
    got = scores(Inference((times,), rng.normal(size=(500, 10))), T_MAX)
    np.testing.assert_array_equal(T_MAX - np.floor(got), times)


# --- what is refused ------------------------------------------------------------------------------


def test_a_backend_it_does_not_have_is_refused():
    assert provider("auto") is provider("cpu") is cpu
    assert provider("reference") is reference
    with pytest.raises(BackendError, match="backend=triton"):
        provider("triton")


@pytest.mark.parametrize("module", [cpu, reference])
def test_what_does_not_fit_is_refused(module):
    trains, labels, weights = problem((7, 3), 24, np.float32)
    constants = rule(1, lr=0.1, l2=0.0, t_max=24)
    with pytest.raises(ValueError, match=r"\[7, units\]"):
        module.infer((weights[0][:5],), trains, constants)
    with pytest.raises(TypeError, match="float32"):
        module.infer((weights[0].astype(int),), trains, constants)
    with pytest.raises(ValueError, match="t_max 24"):
        module.infer(weights, trains, rule(1, lr=0.1, l2=0.0))
    with pytest.raises(ValueError, match=r"0\.\.2"):
        module.train(weights, trains, labels + 3, constants)
    with pytest.raises(ValueError, match="12 images but 11 labels"):
        module.train(weights, trains, labels[1:], constants)
    with pytest.raises(ValueError, match="constants for 1"):
        module.infer(weights * 2, trains, constants)


def test_a_rule_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="one value a layer"):
        S4NNRule(threshold=(1.0, 1.0), lr=(0.1,), l2=(0.0,), gamma=3, t_max=T_MAX)
    with pytest.raises(ValueError, match="lr \\* l2"):
        rule(1, lr=1.0, l2=1.0)
    with pytest.raises(ValueError, match="gamma"):
        rule(1, lr=1.0, l2=0.0, gamma=T_MAX)
