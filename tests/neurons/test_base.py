"""What all neurons promise: no state kept, a sequence in pieces is the sequence, nothing saved."""

import copy

import pytest
import torch

from snnexp.kernels.backend import BackendError
from tests.neurons.building import grid, if_, lif, plif, s2lif

WEIGHT = torch.randint(-4, 5, (3, 7), generator=torch.Generator().manual_seed(2)) / 4
NEURONS = {
    "if": if_(3),
    "if soft": if_(3, reset="soft"),
    "lif": lif(3, v_reset=-0.25),
    "lif tau 4": lif(3, tau=4.0, decay_input=False),
    "plif": plif(3),
    "s2lif": s2lif(3),
    "s2lif lateral": s2lif(3, lateral=True),
}


@pytest.fixture(params=NEURONS)
def neuron(request):
    return NEURONS[request.param]


def test_a_sequence_in_pieces_is_the_sequence(neuron):
    torch.manual_seed(0)
    x = grid(12, 2, 3, high=256)
    whole = neuron(x, weight=WEIGHT)
    first = neuron(x[:5], weight=WEIGHT)
    second = neuron(x[5:], first.v, weight=WEIGHT)
    assert 0 < whole.spikes.mean() < 1
    assert torch.equal(torch.cat([first.spikes, second.spikes]), whole.spikes)
    assert torch.equal(second.v, whole.v)
    assert torch.equal(first.count + second.count, whole.count)


@pytest.mark.parametrize("time_dim", [0, 1])
def test_one_step_is_shown_as_often_as_asked(neuron, time_dim):
    torch.manual_seed(0)
    neuron = copy.deepcopy(neuron)
    neuron.time_dim = time_dim
    x, v0 = grid(8, 3, low=-512, high=1024).unsqueeze(time_dim), grid(8, 3)
    expected = neuron(x.repeat_interleave(6, time_dim), v0, WEIGHT)
    got = neuron(x, v0, WEIGHT, steps=6)
    assert 0 < expected.spikes.mean() < 1
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match=f"has 6 along its time axis {time_dim}"):
        neuron(x.repeat_interleave(6, time_dim), v0, WEIGHT, steps=6)


def test_a_call_leaves_nothing_behind(neuron):
    torch.manual_seed(0)
    x, other = grid(6, 2, 3), grid(6, 2, 3)
    state = {k: v.clone() for k, v in neuron.state_dict().items()}
    first = neuron(x, weight=WEIGHT)
    neuron(other, weight=WEIGHT)
    for a, b in zip(neuron(x, weight=WEIGHT), first, strict=True):
        assert torch.equal(a, b)
    assert neuron.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in neuron.state_dict().items())


@pytest.mark.parametrize(
    ("name", "keys"),
    [("if", set()), ("lif", set()), ("plif", {"w"}), ("s2lif lateral", {"decay", "v_th"})],
)
def test_only_what_is_learned_is_in_a_checkpoint(name, keys):
    assert set(NEURONS[name].state_dict()) == keys


def test_gradients_reach_the_input_and_the_first_membrane(neuron):
    torch.manual_seed(0)
    x, v0 = grid(4, 2, 3).requires_grad_(), grid(2, 3).requires_grad_()
    out = neuron(x, v0, WEIGHT)
    (out.spikes.sum() + out.v.sum()).backward()
    for leaf in (x, v0):
        assert leaf.grad.isfinite().all()
        assert leaf.grad.any()


@pytest.mark.parametrize(("make", "options"), [(lif, {}), (s2lif, {}), (s2lif, {"lateral": True})])
def test_each_layer_says_what_runs_it(make, options):
    here, gpu = torch.device("cpu"), torch.device("cuda")
    assert make(backend="auto", **options).provider(here) == "cpu"
    assert make(backend="cpu", **options).provider(here) == "cpu"
    assert make(backend="reference", **options).provider(here) == "reference"
    assert make(backend="reference", **options).provider(gpu) == "reference"
    with pytest.raises(BackendError, match="backend=cpu"):
        make(backend="cpu", **options).provider(gpu)


def test_lateral_reset_on_a_gpu_is_the_plain_loop_and_says_so():
    gpu = torch.device("cuda")
    assert s2lif(lateral=True, backend="auto").provider(gpu) == "reference"
    with pytest.raises(BackendError, match="lateral reset has no Triton kernel"):
        s2lif(lateral=True, backend="triton").provider(gpu)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(("make", "options"), [(lif, {}), (s2lif, {"lateral": True})])
@pytest.mark.parametrize("steps", [None, 5])
def test_torch_compiles_each_scan_as_one_graph(make, options, backend, steps):
    torch.manual_seed(0)
    neuron = make(3, time_dim=2, channel_dim=1, backend=backend, **options)
    x = grid(2, 3, 1 if steps else 5, 2, high=256).contiguous(memory_format=torch.channels_last)
    torch._dynamo.reset()
    run = torch.compile(
        lambda x: neuron(x, weight=WEIGHT, steps=steps).spikes, fullgraph=True, backend="aot_eager"
    )
    grads = []
    for forward in (run, lambda x: neuron(x, weight=WEIGHT, steps=steps).spikes):
        leaf = x.clone().requires_grad_()
        spikes = forward(leaf)
        spikes.square().sum().backward()
        grads.append((spikes, leaf.grad))
    assert grads[0][0].any()
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)
