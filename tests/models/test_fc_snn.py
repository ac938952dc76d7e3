from functools import partial

import pytest
import torch

from snnexp.data.base import TaskSpec
from snnexp.models.base import SpecError
from snnexp.models.fc_snn import FcSNN, LeakyMean
from snnexp.neurons.lif import LIF
from snnexp.neurons.s2lif import S2LIF
from snnexp.surrogates import Sigmoid

SPEC = TaskSpec(
    name="traffic",
    kind="classification",
    step_shape=(300,),
    n_steps=300,
    dt=0.2,
    classes=tuple(f"class {k}" for k in range(14)),
)
PAPER = partial(
    S2LIF,
    leaky=True,
    lateral=False,
    decay_mean=0.7,
    decay_std=0.0,
    v_th_mean=1.0,
    v_th_std=0.0,
    detach_reset=False,
    surrogate=Sigmoid(alpha=10.0, scaled=True),
    backend="reference",
)


def model(spec=SPEC, neuron=PAPER, hidden=(100,), readout="leaky_mean"):
    torch.manual_seed(0)
    return FcSNN(
        spec, neuron=neuron, hidden=hidden, weight_std=0.15, readout=readout, readout_decay=0.7
    )


def counts(steps=20, batch=3, inputs=300):
    return torch.poisson(torch.full((steps, batch, inputs), 0.05))


def test_parameters_of_the_paper():
    net = model()
    assert sum(w.numel() for w in net.parameters()) == 31_516
    # initial values are constants
    assert net.neurons[0].decay.item() == pytest.approx(0.7)
    assert (net.neurons[0].v_th == 1).all()
    assert net.readout.integrator.decay.item() == pytest.approx(0.7)
    assert (net.readout.offset == 1).all()
    for linear in (net.linears[0], net.readout.linear):
        assert linear.weight.std().item() == pytest.approx(0.15 / linear.in_features**0.5, rel=0.1)


def test_forward_equals_the_authors_loop():
    net, x = model().double().eval(), counts().double()
    w, v = net.linears[0].weight, net.readout.linear.weight
    norm, norm_k = w.square().sum(1), v.square().sum(1)
    u = torch.zeros(3, 100, dtype=torch.float64)
    spikes = torch.zeros_like(u)
    y = torch.zeros(3, 14, dtype=torch.float64)
    trace = []
    for step in x:
        u = 0.7 * (u - spikes * norm) + 0.3 * step @ w.T
        spikes = (u / (norm + 1e-8) - 1 >= 0).double()
        y = 0.7 * y + 0.3 * spikes @ v.T
        trace.append(y / (norm_k + 1e-8) - 1)
    expected = torch.stack(trace)
    output = net(x)
    assert spikes.any()
    torch.testing.assert_close(output.trace, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(output.prediction, expected.mean(0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 7, 60])
def test_training_computes_what_evaluation_shows(steps):
    net, x = model().double(), counts(steps).double() * 3
    trained = net.train()(x)
    shown = net.eval()(x)
    assert trained.trace is None
    assert shown.trace.shape == (steps, 3, 14)
    torch.testing.assert_close(trained.prediction, shown.prediction)


@pytest.mark.parametrize("decay", [0.0, 0.4, 1.0])
def test_leaky_mean_gradients(decay):
    torch.manual_seed(1)
    readout = LeakyMean(5, 3, weight_std=0.15, decay=decay).double()
    spikes = torch.rand(11, 2, 5, dtype=torch.float64, requires_grad=True)
    cotangent = torch.rand(2, 3, dtype=torch.float64)
    leaves = [spikes, *readout.parameters()]
    found = torch.autograd.grad(readout(spikes)[0], leaves, cotangent)
    expected = torch.autograd.grad(readout(spikes, trace=True)[0], leaves, cotangent)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("readout", ["leaky_mean", "mean", "max"])
@pytest.mark.parametrize("hidden", [(8,), (16, 8), (8, 8, 8)])
def test_depths_and_readouts_learn(readout, hidden):
    net, x = model(hidden=hidden, readout=readout).train(), counts() * 20
    net(x).prediction.square().sum().backward()
    assert len(net.neurons) == len(hidden)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert net.linears[0].weight.grad.abs().sum() > 0


def test_another_neuron_gets_weights_that_drive_it():
    lif = partial(
        LIF,
        tau=2.0,
        decay_input=True,
        v_th=1.0,
        v_reset=0.0,
        reset="hard",
        detach_reset=True,
        surrogate=Sigmoid(alpha=10.0, scaled=True),
        backend="reference",
    )
    net, x = model(neuron=lif), counts(60) * 10
    rates = net.neurons[0](net.linears[0](x.transpose(0, 1))).spikes.mean()
    assert 0.005 < rates < 0.6
    assert net(x).prediction.shape == (3, 14)


def test_wrong_tasks_are_refused():
    for shape, steps, kind in (((2, 8, 8), 4, "classification"), ((300,), None, "classification")):
        spec = TaskSpec(name="other", kind=kind, step_shape=shape, n_steps=steps, dt=None,
                        classes=("a", "b"))  # fmt: skip
        with pytest.raises(SpecError, match=r"FcSNN needs .* vectors .*conv_snn"):
            model(spec)
    with pytest.raises(ValueError, match=r"model\.hidden"):
        model(hidden=())
    with pytest.raises(ValueError, match=r"model\.readout"):
        model(readout="median")
