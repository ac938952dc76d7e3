"""The convolutional SNN of the speech paper, to the letter of its layer table."""

from functools import partial

import pytest
import torch

from snnexp.data.base import TaskSpec
from snnexp.models.base import SpecError
from snnexp.models.conv_snn import ConvSNN
from snnexp.neurons.lif import LIF
from snnexp.neurons.s2lif import S2LIF
from snnexp.surrogates import ATan, Sigmoid

SPEECH = TaskSpec(
    name="speech",
    kind="classification",
    step_shape=(3, 40),
    n_steps=101,
    dt=0.01,
    classes=tuple("abcdefghijkl"),
)
S2 = partial(
    S2LIF,
    leaky=True,
    lateral=False,
    decay_mean=0.7,
    decay_std=0.01,
    v_th_mean=1.0,
    v_th_std=0.01,
    detach_reset=False,
    surrogate=Sigmoid(alpha=10.0, scaled=False),
    backend="reference",
)
PLAIN = partial(
    LIF,
    tau=2.0,
    decay_input=True,
    v_th=1.0,
    v_reset=0.0,
    reset="hard",
    detach_reset=True,
    surrogate=ATan(alpha=2.0),
    backend="reference",
)
PAPER = {
    "channels": [64, 64, 64],
    "kernels": [(4, 3)] * 3,
    "dilations": [(1, 1), (4, 3), (16, 9)],
    "weight_std": 0.15,
    "readout": "mean",
    "readout_decay": 0.7,
}
SMALL = {**PAPER, "channels": [8, 8, 8]}


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_paper_net_has_the_paper_parameters():
    model = ConvSNN(SPEECH, neuron=S2, **PAPER)
    assert count(model) == 131_535
    layers = [count(c) + count(n) for c, n in zip(model.convs, model.neurons, strict=True)]
    assert layers == [2_369, 49_217, 49_217]
    assert count(model.readout) == 30_732


def test_seizure_net_has_the_paper_parameters():
    spec = TaskSpec(
        name="seizure",
        kind="classification",
        step_shape=(55, 155),
        n_steps=33,
        dt=None,
        classes=("interictal", "ictal"),
    )
    model = ConvSNN(spec, neuron=S2, **{**PAPER, "channels": [32, 32, 32]})
    assert count(model) == 55_717


def test_shapes_follow_the_layer_table():
    model = ConvSNN(SPEECH, neuron=S2, **SMALL)
    seen = []
    for neuron in model.neurons:
        neuron.register_forward_hook(lambda m, a, out: seen.append(tuple(out.spikes.shape)))
    out = model(torch.rand(101, 2, 3, 40))
    assert seen == [(2, 8, 102, 40)] * 3
    assert out.prediction.shape == (2, 12)


@pytest.mark.parametrize("readout", ["mean", "max"])
@pytest.mark.parametrize("neuron", [S2, PLAIN], ids=["s2lif", "lif"])
def test_every_parameter_learns(neuron, readout):
    torch.manual_seed(0)
    model = ConvSNN(SPEECH, neuron=neuron, **{**SMALL, "readout": readout})
    scores = model(torch.rand(30, 4, 3, 40)).prediction
    torch.nn.functional.cross_entropy(scores, torch.arange(4)).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("neuron", [S2, PLAIN], ids=["s2lif", "lif"])
def test_no_layer_starts_silent_or_saturated(neuron):
    torch.manual_seed(0)
    model = ConvSNN(SPEECH, neuron=neuron, **PAPER)
    rates = []
    for n in model.neurons:
        n.register_forward_hook(lambda m, a, out: rates.append(out.spikes.mean().item()))
    model(torch.rand(101, 2, 3, 40))
    assert all(0.02 < r < 0.5 for r in rates), rates


def test_mean_readout_is_the_mean_of_its_trace():
    model = ConvSNN(SPEECH, neuron=S2, **SMALL).eval()
    out = model(torch.rand(40, 3, 3, 40))
    assert out.trace.shape == (41, 3, 12)
    torch.testing.assert_close(out.prediction, out.trace.mean(0), rtol=1e-4, atol=1e-4)


def test_max_readout_is_the_maximum_of_a_leaky_integrator():
    model = ConvSNN(SPEECH, neuron=S2, **{**SMALL, "readout": "max"}).eval()
    readout = model.readout
    spikes = (torch.rand(20, 2, 320) < 0.1).float()
    got, _ = readout(spikes)
    u, best = torch.zeros(2, 12), torch.full((2, 12), -torch.inf)
    norm = readout.linear.weight.square().sum(1) + 1e-8
    for t in range(20):
        u = 0.7 * u + 0.3 * readout.linear(spikes[t])
        best = torch.maximum(best, u / norm - readout.offset)
    torch.testing.assert_close(got, best, rtol=1e-4, atol=1e-4)


def test_state_does_not_outlive_a_forward():
    model = ConvSNN(SPEECH, neuron=S2, **SMALL)
    x = torch.rand(25, 2, 3, 40)
    first = model(x).prediction
    model(torch.rand(50, 1, 3, 40))
    torch.testing.assert_close(model(x).prediction, first)
    assert not [k for k in model.state_dict() if k.split(".")[-1] == "v"]


def test_a_task_it_cannot_serve_is_refused():
    image = TaskSpec(
        name="mnist", kind="classification", step_shape=(1, 28, 28), n_steps=None, dt=None
    )
    with pytest.raises(SpecError, match=r"ConvSNN needs .* task mnist gives .* plif_net"):
        ConvSNN(image, neuron=S2, **PAPER)


def test_layer_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"model\.channels"):
        ConvSNN(SPEECH, neuron=S2, **{**PAPER, "channels": [64]})
