"""LIF: h[t] = v[t-1] + (x[t] - (v[t-1] - v_reset)) / tau."""

import pytest
import torch

from tests.neurons.building import lif, sequence, spikes_of


def test_it_leaks_towards_its_input():
    # tau 2: h = 0.5, 0.75, 0.75 + (1.5 - 0.75)/2 = 1.125 (a spike), 0 + 1/2
    out = lif()(sequence(1.0, 1.0, 1.5, 1.0))
    assert spikes_of(out) == [0, 0, 1, 0]
    assert out.v.item() == 0.5


def test_it_leaks_towards_the_reset_value():
    # v_reset -1: h = -1 + (4 - 0)/2 = 1 (a spike), -1 + 2/2 = 0, 0 + (0 - 1)/2 = -0.5
    out = lif(v_reset=-1.0)(sequence(4.0, 2.0, 0.0))
    assert spikes_of(out) == [1, 0, 0]
    assert out.v.item() == -0.5


def test_without_decay_input_the_input_is_not_divided():
    # tau 4: h = 0.5, 0.5 * 3/4 + 0.5 = 0.875, 0.875 * 3/4 + 0.5 = 1.15625 (a spike), 0.5
    out = lif(tau=4.0, decay_input=False)(sequence(0.5, 0.5, 0.5, 0.5))
    assert spikes_of(out) == [0, 0, 1, 0]
    assert out.v.item() == 0.5


def test_a_soft_reset_subtracts_the_threshold():
    # h: 1.5 (a spike, 0.5 left), 0.25 + 1 = 1.25 (a spike, 0.25 left), 0.125
    out = lif(reset="soft")(sequence(3.0, 2.0, 0.0))
    assert spikes_of(out) == [1, 1, 0]
    assert out.v.item() == 0.125


def test_tau_1_forgets_everything():
    out = lif(tau=1.0)(sequence(0.5, 0.75, 1.0))
    assert spikes_of(out) == [0, 0, 1]


def test_the_gradient_of_one_step_is_the_surrogates():
    x = sequence(1.0).requires_grad_()
    out = lif()(x)
    out.spikes.sum().backward()
    # h - v_th = -0.5; atan, alpha 2: 1 / (1 + (pi u)^2), times the gain 1/2
    assert x.grad.item() == pytest.approx(0.5 / (1 + (torch.pi * 0.5) ** 2))


def test_a_detached_reset_cuts_the_path_through_the_spike():
    grads = []
    for detach in (True, False):
        x = sequence(3.0, 0.0).requires_grad_()
        lif(detach_reset=detach)(x).v.sum().backward()
        grads.append(x.grad[0].item())
    # v[0] = h (1 - s): detached 0; else dv/dh = -h g'(h - 1), h = 1.5, then decay 1/2 and gain 1/2
    assert grads[0] == 0
    assert grads[1] == pytest.approx(-1.5 / (1 + (torch.pi * 0.5) ** 2) / 4)


def test_a_time_constant_below_a_step_is_refused():
    with pytest.raises(ValueError, match=r"model\.neuron\.tau=0\.5"):
        lif(tau=0.5)
