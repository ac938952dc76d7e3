"""The S4NN network: layers, scores, what it says to those who listen, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snnexp.kernels.backend import BackendError
from snnexp.kernels.s4nn import SpikeTrains, count_right, reference, scores
from snnexp.metrics.activity import Tape
from snnexp.models.base import SpecError
from tests.models.building import build, count, frames, images

T_MAX = 256


def pictures(n, height=5, width=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, 1, height, width)).astype(np.uint8)
    x[rng.random(x.shape) < 0.4] = 0
    x[0] = 0
    return torch.from_numpy(x)


def small(*overrides, backend="cpu", hidden="[9]", init="[8.0,60.0]"):
    words = (f"model.hidden={hidden}", f"model.init={init}", *overrides)
    return build("s4nn", images(1, 5, 7, classes=4), *words, f"model.backend={backend}")


def test_it_has_the_papers_weights():
    assert count("s4nn", images(1, 28, 28)) == 784 * 400 + 400 * 10 == 317_600
    model = build("s4nn", images(1, 28, 28))
    first, second = (layer.weight for layer in model.stack)
    assert (first.shape, second.shape) == ((784, 400), (400, 10))
    for weight, upper in ((first, 5), (second, 48)):
        assert weight.min() >= 0
        assert 0.98 * upper < weight.max() <= upper
        assert weight.mean() == pytest.approx(upper / 2, rel=0.05)
        assert not weight.requires_grad


@pytest.mark.parametrize("hidden", ["[9]", "[9,6]", "[]"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_by_layer_it_is_the_reference(hidden, dtype):
    init = {"[9]": "[8.0,60.0]", "[9,6]": "[8.0,60.0,60.0]", "[]": "[8.0]"}[hidden]
    model = small(f"model.dtype={dtype}", hidden=hidden, init=init)
    x = pictures(30)
    weights = tuple(layer.weight.numpy() for layer in model.stack)
    constants = model.constants([0.0] * len(weights), [0.0] * len(weights))
    expected = reference.infer(weights, SpikeTrains.from_images(x.numpy(), T_MAX), constants)
    tape = Tape(model, spikes=True)
    prediction = model(x).prediction
    np.testing.assert_array_equal(prediction.numpy(), scores(expected, T_MAX))
    for firing, times in zip(tape.values(), expected.times, strict=True):
        assert firing.steps == T_MAX
        np.testing.assert_array_equal(firing.counts.numpy(), times < T_MAX)
        # one spike at most, at its time
        spikes = firing.spikes.numpy()
        np.testing.assert_array_equal(spikes.sum(0), times < T_MAX)
        image, unit = np.nonzero(times < T_MAX)
        assert spikes[times[image, unit], image, unit].all()


def test_backends_agree():
    x = pictures(20)
    assert torch.equal(small()(x).prediction, small(backend="reference")(x).prediction)


def test_label_order_says_which_class_a_unit_stands_for():
    plain, permuted = small(), small("model.label_order=[2,0,3,1]")
    for a, b in zip(plain.stack, permuted.stack, strict=True):
        assert torch.equal(a.weight, b.weight)
    x = pictures(20)
    by_unit, by_class = plain(x).prediction, permuted(x).prediction
    for unit, label in enumerate([2, 0, 3, 1]):
        assert torch.equal(by_class[:, label], by_unit[:, unit])


def test_the_score_orders_by_time_then_potential():
    model, x = small(), pictures(60)
    prediction = model(x).prediction
    times = T_MAX - prediction.floor()
    assert ((times >= 1) & (times <= T_MAX)).all()
    counted = count_right(prediction.numpy(), prediction.argmax(1).numpy())
    assert counted["potential"] == 60
    assert counted["unique"] <= counted["potential"] <= counted["ties_right"]


@pytest.mark.parametrize("x", [torch.zeros(2, 1, 5, 7), torch.zeros(2, 1, 5, 7, dtype=torch.int64)])
def test_images_that_are_no_bytes_are_refused(x):
    with pytest.raises(TypeError, match=r"task\.normalise=none"):
        small()(x)


def test_a_sequence_is_refused():
    with pytest.raises(SpecError, match="static images"):
        build("s4nn", frames(4, 8, 8))


def test_lists_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"model\.init has 2 values.*makes 3 layers"):
        small(hidden="[9,6]")
    for wrong in ("[1.0,-2.0]", "[[3.0,2.0],1.0]", "[[1.0],1.0]"):
        with pytest.raises(ValueError, match=r"model\.init=.*upper end above 0, or \[low, high\]"):
            small(init=wrong)
    with pytest.raises(ValueError, match=r"model\.label_order"):
        small("model.label_order=[0,1,2,2]")
    with pytest.raises(BackendError, match="backend=triton"):
        small(backend="triton")


def test_weights_start_in_their_range():
    hidden, output = (layer.weight for layer in small(init="[8.0,[-4.0,-1.0]]").stack)
    assert 0 <= hidden.min() < 1
    assert 7 < hidden.max() < 8
    assert -4 <= output.min() < -3.5
    assert -1.5 < output.max() < -1


def test_weights_come_back_from_a_checkpoint():
    model, other = small(), small()
    for layer in other.stack:
        layer.weight.zero_()
    other.load_state_dict(model.state_dict())
    x = pictures(10)
    assert torch.equal(model(x).prediction, other(x).prediction)
    assert set(model.state_dict()) == {"layers.0.weight", "layers.1.weight"}
