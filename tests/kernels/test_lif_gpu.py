"""The Triton provider on a CUDA device; needs torch, triton, numba and pytest only.

Tests of whole models need lightning too, which models import with their task's description.
"""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from snnexp.kernels.backend import BackendError, resolve
from snnexp.kernels.lif import lif
from snnexp.neurons.lif import LIF
from snnexp.neurons.plif import PLIF
from snnexp.neurons.s2lif import S2LIF
from snnexp.surrogates import ATan, Sigmoid
from tests.kernels.lif_cases import BF16, CASES, EMPTY, F16, F64, STATIC, Case, check, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

LARGE = (
    Case(shape=(16, 32, 64, 8, 8), detach=True),
    Case(shape=(16, 32, 64, 7, 7), reset="soft"),
    Case(shape=(100, 4, 64, 40), time_dim=0, channel_dim=2, reset="soft"),
    Case(shape=(4, 64, 101, 40), time_dim=2, channel_dim=1, reset="soft", by_channel=("gain",)),
    Case(shape=(8, 64, 4099), dtype=BF16, by_channel=()),
    Case(shape=(8, 64, 4096), dtype=F16, learned=False),
    Case(shape=(64, 3, 1000), dtype=F64),
    Case(shape=(64, 300, 70), time_dim=2, channel_dim=1, reset="none"),
    Case(shape=(1, 32, 64, 8, 8), steps=16, detach=True, learned=False, by_channel=()),
    Case(shape=(1, 64, 4099), steps=33, reset="soft"),
    Case(shape=(1, 32, 64, 7, 7), steps=4, dtype=BF16),
)


@pytest.mark.parametrize("case", CASES + STATIC, ids=Case.id)
def test_outputs_and_gradients_equal_the_reference(case):
    check(case, "triton", "cuda")


@pytest.mark.parametrize("case", EMPTY, ids=Case.id)
def test_nothing_in_nothing_out(case):
    check(case, "triton", "cuda")


@pytest.mark.parametrize("case", LARGE, ids=Case.id)
@pytest.mark.parametrize("dyadic", [True, False])
def test_large_layers(case, dyadic):
    check(case, "triton", "cuda", dyadic)


def test_spikes_are_those_of_the_cpu_to_the_last_bit():
    case = Case(shape=(50, 16, 64, 16), detach=True, learned=False)
    on_gpu, on_cpu = run(case, "triton", "cuda", dyadic=False), run(case, "cpu", dyadic=False)
    for a, b in zip(on_gpu[0], on_cpu[0], strict=True):
        assert torch.equal(a, b)


def test_gradients_of_parameters_are_the_same_each_time():
    case = Case(shape=(16, 32, 64, 7, 7), by_channel=("gain",))
    first, again = run(case, "triton", "cuda"), run(case, "triton", "cuda")
    for a, b in zip(first[1], again[1], strict=True):
        assert torch.equal(a, b)


def scan(x, **changes):
    options = {
        "v_reset": 0.0,
        "reset": "hard",
        "detach_reset": True,
        "surrogate": ATan(alpha=2.0),
        "time_dim": 0,
        "channel_dim": 1,
        "backend": "auto",
    }
    # filled on the device: a copy from the host could not be captured in a graph
    half, one = (torch.full((), v, device=x.device) for v in (0.5, 1.0))
    return lif(x, None, half, half, one, **options | changes)


def test_more_numbers_than_32_bits_count():
    steps, neurons = 4, 2**29 + 8
    if torch.cuda.mem_get_info()[0] < 8 * steps * neurons:
        pytest.skip("not enough memory")
    x = torch.zeros(steps, neurons, dtype=BF16, device="cuda")
    x[:, -1000:] = 4
    x.requires_grad_()
    out = scan(x)
    assert out.spikes[:, -1000:].all()
    assert not out.spikes[:, :-1000].any()
    (grad,) = torch.autograd.grad(out.spikes, x, torch.ones_like(x))
    tail = x[:, -1000:].detach().requires_grad_()
    (expected,) = torch.autograd.grad(scan(tail, backend="reference").spikes.sum(), tail)
    torch.testing.assert_close(grad[:, -1000:], expected, rtol=1e-2, atol=1e-3)


def test_auto_is_triton():
    assert resolve("auto", torch.device("cuda")) == "triton"
    with pytest.raises(BackendError, match="backend=cpu"):
        scan(torch.rand(2, 3, device="cuda"), backend="cpu")


def test_another_length_or_steepness_compiles_nothing():
    from snnexp.kernels.lif.triton_kernels import backward_kernel, forward_kernel

    def variants():
        kernels = (forward_kernel, backward_kernel)
        return sum(len(cache[0]) for k in kernels for cache in k.device_caches.values())

    def step(steps, alpha):
        x = torch.rand(steps, 640, device="cuda", requires_grad=True)
        scan(x, surrogate=ATan(alpha=alpha), v_reset=alpha / 8).spikes.sum().backward()

    step(33, 2.0)
    before = variants()
    step(65, 3.0)
    step(100, 4.0)
    assert variants() == before


class Small(nn.Module):
    """A convolution over time with normalised neurons, then linear PLIF and LIF neurons."""

    def __init__(self, backend):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, (4, 3), padding=(2, 1), bias=False)
        options = {"v_th": 1.0, "v_reset": 0.0, "reset": "hard", "surrogate": ATan(alpha=2.0)}
        options |= {"tau": 2.0, "decay_input": True, "detach_reset": True, "backend": backend}
        self.s2 = S2LIF(
            8, 2, 1, leaky=True, lateral=False, decay_mean=0.7, decay_std=0.01, v_th_mean=1.0,
            v_th_std=0.01, detach_reset=False, surrogate=Sigmoid(alpha=10.0, scaled=False),
            backend=backend,
        )  # fmt: skip
        self.linears = nn.ModuleList([nn.Linear(8 * 20, 60), nn.Linear(60, 10)])
        self.spiking = nn.ModuleList([PLIF(60, **options), LIF(10, **options)])

    def forward(self, x_BCTF):
        s = self.s2(self.conv(x_BCTF), weight=self.conv.weight).spikes
        s_TBF = s.permute(2, 0, 1, 3).flatten(2)
        for linear, neuron in zip(self.linears, self.spiking, strict=True):
            s_TBF = neuron(30 * linear(s_TBF)).spikes
        return s_TBF.mean(0)


def small_nets():
    torch.manual_seed(0)
    net = Small("triton").cuda()
    reference = Small("reference").cuda()
    reference.load_state_dict(net.state_dict())
    return net, reference, torch.randn(4, 3, 24, 20, device="cuda")


def gradients(net, x, autocast=False):
    net.zero_grad()
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        out = net(x)
    weight = torch.linspace(-1, 1, out.numel(), device="cuda").view_as(out)
    (out.float() * weight).sum().backward()
    return [out.detach(), *(p.grad for p in net.parameters())]


def assert_same(got, expected, tolerance):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


@pytest.fixture
def exact(monkeypatch):
    """Make cuDNN and cuBLAS give the same sums each time."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("autocast", [False, True])
def test_a_net_trains_like_the_reference(autocast):
    net, reference, x = small_nets()
    got, expected = gradients(net, x, autocast), gradients(reference, x, autocast)
    assert got[0].any()
    assert_same(got, expected, 2e-2 if autocast else 1e-4)


@pytest.mark.usefixtures("exact")
def test_torch_compile_makes_one_graph():
    net, _, x = small_nets()
    expected = gradients(net, x)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert_same(gradients(compiled, x), expected, 1e-5)


def test_inductor_compiles_a_net():
    net, _, x = small_nets()
    compiled = torch.compile(net, fullgraph=True)
    with torch.no_grad():
        assert torch.isfinite(compiled(x)).all()
    assert all(torch.isfinite(g).all() for g in gradients(compiled, x))


def test_a_cuda_graph_replays_the_scan():
    x = torch.rand(8, 4096, device="cuda") * 4
    expected = scan(x).spikes
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        out = scan(x, backend="triton").spikes
    graph.replay()
    assert torch.equal(out, expected)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", ["conv_snn", "plif_net"])
def test_models_train_like_the_reference(name):
    pytest.importorskip("lightning", reason="models import snnexp.data, which needs lightning")
    from snnexp.data.base import TaskSpec
    from snnexp.models.conv_snn import ConvSNN
    from snnexp.models.plif_net import PLIFNet

    torch.manual_seed(0)
    kind = {"name": "t", "kind": "classification", "classes": tuple("abcdefghij")}
    if name == "conv_snn":
        neuron = partial(
            S2LIF, leaky=True, lateral=False, decay_mean=0.7, decay_std=0.01, v_th_mean=1.0,
            v_th_std=0.01, detach_reset=False, surrogate=Sigmoid(alpha=10.0, scaled=False),
            backend="triton",
        )  # fmt: skip
        net = ConvSNN(
            TaskSpec(**kind, step_shape=(3, 40), n_steps=50, dt=0.01),
            neuron=neuron, channels=[16, 16], kernels=[(4, 3)] * 2, dilations=[(1, 1), (4, 3)],
            weight_std=0.15, readout="mean", readout_decay=0.7,
        )  # fmt: skip
        x = torch.randn(50, 4, 3, 40)
    else:
        neuron = partial(
            PLIF, tau=2.0, decay_input=True, v_th=1.0, v_reset=0.0, reset="hard",
            detach_reset=True, surrogate=ATan(alpha=2.0), backend="triton",
        )  # fmt: skip
        net = PLIFNet(
            TaskSpec(**kind, step_shape=(1, 28, 28), n_steps=None, dt=None), neuron=neuron,
            n_steps=8, channels=16, convs=[1, 1], pool="max", hidden=64, dropout=(0.0, 0.0),
            votes=2, norm_over="step",
        )  # fmt: skip
        x = torch.randn(4, 1, 28, 28)
    net, x = net.cuda(), x.cuda()
    reference = copy.deepcopy(net)
    for module in reference.modules():
        if hasattr(module, "backend"):
            module.backend = "reference"

    def step(net):
        net.zero_grad()
        out = net.train()(x).prediction
        weight = torch.linspace(-1, 1, out.numel(), device="cuda").view_as(out)
        (out * weight).sum().backward()
        return [out.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]

    assert_same(step(net), step(reference), 1e-3)
