"""S2LIF against s2net's equations in their own units, u = v (||w||^2 + eps)."""

import itertools

import pytest
import torch

from tests.neurons.building import s2lif, sequence, spikes_of


def s2net(x_TBC, weight, decay, v_th, *, leaky, lateral):
    """Run u[t] = beta (u[t-1] - R[t-1]) + (1 - beta) I[t] as s2net writes it, in float64."""
    x, w, b = x_TBC.double(), weight.double(), v_th.double()
    norm = (w**2).sum(1)
    u = reset = torch.zeros_like(x[0])
    spikes = []
    for current in x:
        u = decay * (u - reset) + (1 - decay if leaky else 1) * current
        s = (u / (norm + 1e-8) - b >= 0).double()
        reset = s @ (w @ w.T) if lateral else s * b * norm
        spikes.append(s)
    return torch.stack(spikes)


@pytest.mark.parametrize(
    ("leaky", "lateral"), list(itertools.product((True, False), (True, False)))
)
def test_the_equations_of_s2net(leaky, lateral):
    torch.manual_seed(0)
    weight = torch.randn(4, 6) / 2
    neuron = s2lif(4, leaky=leaky, lateral=lateral, decay_mean=0.7, v_th_mean=0.8, v_th_std=0.1)
    x = torch.randn(30, 5, 4) * 3
    expected = s2net(x, weight, 0.7, neuron.v_th.detach(), leaky=leaky, lateral=lateral)
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(neuron(x, weight=weight).spikes.double(), expected)


def test_a_sequence_by_hand():
    # ||w||^2 = 4, decay 1/2: gain 1/8; h = 0.5, 0.25 + 0.75 = 1 (a spike, 0 left), 0.5
    weight = torch.tensor([[2.0]])
    assert spikes_of(s2lif()(sequence(4.0, 6.0, 4.0), weight=weight)) == [0, 1, 0]
    # not leaky: gain 1/4, and the leak stays; h = 1 (a spike), 0.5, 0.25 + 0.5
    out = s2lif(leaky=False)(sequence(4.0, 2.0, 2.0), weight=weight)
    assert spikes_of(out) == [1, 0, 0]
    assert out.v.item() == 0.75


def test_a_lateral_spike_takes_one_from_its_own_and_a_part_from_similar_filters():
    # <w0, w1> = 2, ||w0||^2 = 4, ||w1||^2 = 1, <w0, w2> = -2, ||w2||^2 = 2; decay 1/2
    weight = torch.tensor([[2.0, 0.0], [1.0, 0.0], [-1.0, 1.0]])
    neuron = s2lif(3, lateral=True, v_th_mean=0.5)
    out = neuron(torch.tensor([[[8.0, 0.0, 0.0]]]), weight=weight)
    assert out.spikes.tolist() == [[[1.0, 0.0, 0.0]]]
    # v0 = 1 - 1, v1 = 0 - 2/1, v2 = 0 + 2/2
    torch.testing.assert_close(out.v, torch.tensor([[0.0, -2.0, 1.0]]))


def test_without_lateral_reset_a_spike_takes_its_threshold():
    weight = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    out = s2lif(2, v_th_mean=0.5)(torch.tensor([[[8.0, 0.0]]]), weight=weight)
    torch.testing.assert_close(out.v, torch.tensor([[0.5, 0.0]]))


def test_initial_values_are_drawn_as_in_s2net():
    torch.manual_seed(0)
    many = s2lif(20_000, decay_mean=0.7, decay_std=0.01, v_th_mean=1.0, v_th_std=0.01)
    assert many.v_th.mean().item() == pytest.approx(1.0, abs=1e-3)
    assert many.v_th.std().item() == pytest.approx(0.01, rel=0.05)
    decays = torch.stack([s2lif(decay_mean=0.7, decay_std=0.01).decay for _ in range(500)])
    assert decays.mean().item() == pytest.approx(0.7, abs=2e-3)
    assert decays.std().item() == pytest.approx(0.01, rel=0.2)
    assert s2lif(decay_mean=0.7, decay_std=0.0).decay.item() == pytest.approx(0.7)


def test_learned_values_are_brought_back_into_their_range():
    neuron = s2lif(3)
    with torch.no_grad():
        neuron.decay.fill_(1.5)
        neuron.v_th.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    neuron.constrain()
    assert neuron.decay.item() == 1
    assert neuron.v_th.tolist() == [0, 0, 2]
    with torch.no_grad():
        neuron.decay.fill_(-0.5)
    neuron.constrain()
    assert neuron.decay.item() == 0


@pytest.mark.parametrize("lateral", [True, False])
def test_what_is_learned_has_the_right_gradients(lateral):
    """Finite differences of the last membrane, where no spike stands in the way of them."""
    torch.manual_seed(0)
    neuron = s2lif(3, lateral=lateral, decay_mean=0.7, v_th_mean=0.9).double()
    weight = torch.randn(3, 5, dtype=torch.float64).requires_grad_()
    x = torch.randn(6, 2, 3, dtype=torch.float64) * 4

    def total(weight, decay, v_th):
        out = torch.func.functional_call(neuron, {"decay": decay, "v_th": v_th}, (x, None, weight))
        return out.v.sum(), out.spikes

    params = (weight, neuron.decay, neuron.v_th)
    value, spikes = total(*params)
    assert 0 < spikes.mean() < 1
    # with the reset attached, the spikes carry surrogate gradients that no difference would show
    neuron.detach_reset = True
    # a lateral reset takes 1, not the threshold, which then moves spikes only
    grads = torch.autograd.grad(total(*params)[0], params, materialize_grads=True)
    for i, (p, grad) in enumerate(zip(params, grads, strict=True)):
        for j in range(p.numel()):
            step = torch.zeros_like(p).flatten()
            step[j] = 1e-6
            moved = [q.detach() for q in params]
            moved[i] = moved[i] + step.view_as(p)
            up, same = total(*moved)
            assert torch.equal(same, spikes)
            slope = (up - value).item() / 1e-6
            assert grad.flatten()[j].item() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_a_missing_weight_is_named():
    with pytest.raises(ValueError, match=r"weight of shape \[3, \.\.\.\], got None"):
        s2lif(3)(torch.rand(2, 2, 3))
    with pytest.raises(ValueError, match=r"got \[2, 5\]"):
        s2lif(3)(torch.rand(2, 2, 3), weight=torch.rand(2, 5))
