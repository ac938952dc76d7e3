"""PLIF: tau = 1/sigmoid(w) is learned."""

import math

import pytest
import torch

from tests.neurons.building import lif, plif, sequence


@pytest.mark.parametrize("tau", [1.5, 2.0, 16.0])
def test_it_starts_with_the_time_constant_asked_for(tau):
    neuron = plif(tau=tau)
    assert neuron.w.item() == pytest.approx(-math.log(tau - 1))
    assert 1 / torch.sigmoid(neuron.w).item() == pytest.approx(tau)


@pytest.mark.parametrize("decay_input", [True, False])
def test_untrained_it_is_a_lif(decay_input):
    torch.manual_seed(0)
    x = torch.rand(20, 2, 3) * 3
    got = plif(tau=2.0, decay_input=decay_input)(x)
    expected = lif(tau=2.0, decay_input=decay_input)(x)
    assert expected.spikes.any()
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


def test_the_gradient_of_w():
    neuron = plif(tau=4.0, reset="none")
    neuron(sequence(0.5, 0.25)).v.sum().backward()
    # k = 1/4, v[1] = (1 - k) k x0 + k x1, dv/dk = (1 - 2k) x0 + x1, dk/dw = k (1 - k)
    assert neuron.w.grad.item() == pytest.approx((0.5 * 0.5 + 0.25) * 0.25 * 0.75)


def test_without_decay_input_w_acts_on_the_leak_alone():
    neuron = plif(tau=4.0, reset="none", decay_input=False)
    neuron(sequence(0.5, 0.25)).v.sum().backward()
    # v[1] = (1 - k) x0 + x1
    assert neuron.w.grad.item() == pytest.approx(-0.5 * 0.25 * 0.75)


def test_a_time_constant_of_one_step_is_refused():
    with pytest.raises(ValueError, match=r"model\.neuron\.tau=1"):
        plif(tau=1.0)
