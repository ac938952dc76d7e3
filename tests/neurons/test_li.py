"""LI: a leaky integrator's whole trace."""

import pytest
import torch

from snnexp.neurons.li import LI
from tests.neurons.building import sequence


def test_the_trace_by_hand():
    x = sequence(1.0, 0.0, 2.0)
    assert LI(decay=0.5, decay_input=False)(x).flatten().tolist() == [1, 0.5, 2.25]
    assert LI(decay=0.5, decay_input=True)(x).flatten().tolist() == [0.5, 0.25, 1.125]


@pytest.mark.parametrize("time_dim", [0, 1, 2])
def test_any_time_axis(time_dim):
    torch.manual_seed(0)
    x, li = torch.randn(4, 5, 6, dtype=torch.float64), LI(time_dim, decay=0.7, decay_input=True)
    v, trace = torch.zeros_like(x.select(time_dim, 0)), li(x)
    for t in range(x.shape[time_dim]):
        v = li.decay.double() * v + (1 - li.decay.double()) * x.select(time_dim, t)
        torch.testing.assert_close(trace.select(time_dim, t), v)


@pytest.mark.parametrize("decay_input", [True, False])
def test_the_gradients_are_those_of_finite_differences(decay_input):
    torch.manual_seed(0)
    li = LI(decay=0.7, decay_input=decay_input).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)

    def trace(x, decay):
        return torch.func.functional_call(li, {"decay": decay}, (x,))

    assert torch.autograd.gradcheck(trace, (x, li.decay))


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_no_leak_and_no_memory(decay):
    x = torch.rand(4, 2, 3)
    trace = LI(decay=decay, decay_input=False)(x)
    torch.testing.assert_close(trace, x.cumsum(0) if decay else x)
    li = LI(decay=decay, decay_input=False)
    li(x).sum().backward()
    assert li.decay.grad.isfinite()


def test_the_leak_is_kept_in_its_range():
    with pytest.raises(ValueError, match=r"decay=1\.5"):
        LI(decay=1.5, decay_input=True)
    li = LI(decay=0.5, decay_input=True)
    with torch.no_grad():
        li.decay.fill_(3.0)
    li.constrain()
    assert li.decay.item() == 1


def test_autocast_does_not_round_the_trace():
    x = torch.rand(50, 2, 3)
    li = LI(decay=0.9, decay_input=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = li(x)
    assert got.dtype == torch.float32
    assert torch.equal(got, li(x))
