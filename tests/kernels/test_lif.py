"""The LIF scan: every provider gives the reference's outputs and gradients."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from scripts.bench_timing import peak_bytes, saved_bytes
from snnexp.kernels.backend import BackendError
from snnexp.kernels.layout import Layout
from snnexp.kernels.lif import cpu, direct, lif
from snnexp.kernels.lif.cpu_backward import backward_kernel
from snnexp.kernels.lif.cpu_forward import forward_kernel
from snnexp.kernels.lif.op import lif_op
from snnexp.surrogates import ATan, Sigmoid
from tests.kernels.lif_cases import BF16, F32, F64, STATIC, Case, check
from tests.kernels.lif_cases import run as run_case

RESETS = ("hard", "soft", "none")


def grid(*shape, low=-64, high=128):
    """Multiples of 1/64: sums and products with 0.5 are exact, so no spike can flip."""
    return torch.randint(low, high, shape) / 64


def run(backend, x, time_dim, channel_dim, *, with_v0, by_channel, reset, detach, surrogate, state):
    torch.manual_seed(1)
    channels = x.shape[channel_dim]
    step = [n for axis, n in enumerate(x.shape) if axis != time_dim]
    size = (channels,) if by_channel else ()
    x = x.clone().requires_grad_()
    v0 = grid(*step).to(state).requires_grad_() if with_v0 else None
    decay = torch.full(size, 0.5, dtype=state, requires_grad=True)
    gain = (torch.randint(1, 4, size) / 2).to(state).requires_grad_()
    v_th = torch.ones(size, dtype=state, requires_grad=True)
    out = lif(
        x,
        v0,
        decay,
        gain,
        v_th,
        v_reset=0.25,
        reset=reset,
        detach_reset=detach,
        surrogate=surrogate,
        time_dim=time_dim,
        channel_dim=channel_dim,
        backend=backend,
    )
    weight = torch.randn(x.shape, dtype=x.dtype), torch.randn(step, dtype=state)
    ((out.spikes * weight[0]).sum() + (out.v * weight[1]).sum()).backward()
    grads = [x.grad, v0.grad if with_v0 else None, decay.grad, gain.grad, v_th.grad]
    return list(out), grads


def compare(x, time_dim, channel_dim, *, rtol=1e-4, atol=1e-4, state=torch.float32, **options):
    options = {
        "with_v0": True,
        "by_channel": True,
        "reset": "hard",
        "detach": False,
        "surrogate": ATan(alpha=2.0),
        **options,
    }
    expected = run("reference", x, time_dim, channel_dim, state=state, **options)
    got = run("cpu", x, time_dim, channel_dim, state=state, **options)
    for a, b in zip(got[0], expected[0], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for a, b in zip(got[1], expected[1], strict=True):
        if a is not None or b is not None:
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("reset", "detach", "by_channel"), list(itertools.product(RESETS, (True, False), (True, False)))
)
def test_outputs_and_gradients_equal_the_reference(reset, detach, by_channel):
    torch.manual_seed(0)
    compare(grid(7, 3, 5, 4), 0, 2, reset=reset, detach=detach, by_channel=by_channel)


@pytest.mark.parametrize("steps", [1, 7, 63])
@pytest.mark.parametrize("neurons", [1, 60, 1000])
def test_odd_sizes(steps, neurons):
    torch.manual_seed(0)
    compare(grid(steps, 2, neurons), 0, 2, with_v0=False, detach=True)


@pytest.mark.parametrize("time_dim", [0, 1, 2, 3])
def test_any_time_axis(time_dim):
    torch.manual_seed(0)
    compare(grid(3, 4, 5, 6), time_dim, (time_dim + 1) % 4)


@pytest.mark.parametrize("layout", ["channels last", "transposed", "with gaps"])
def test_any_memory_layout(layout):
    torch.manual_seed(0)
    x = grid(4, 6, 5, 3)
    if layout == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == "transposed":
        x = x.transpose(0, 2)
    else:
        x = grid(4, 6, 5, 6)[..., ::2]
    compare(x, 2, 1)


@pytest.mark.parametrize("surrogate", [ATan(alpha=2.0), Sigmoid(alpha=10.0, scaled=False)])
def test_surrogates_reach_the_kernel(surrogate):
    torch.manual_seed(0)
    compare(grid(5, 2, 8), 0, 2, surrogate=surrogate, detach=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_input_keeps_a_float32_state(dtype):
    torch.manual_seed(0)
    compare(grid(6, 2, 40).to(dtype), 0, 2, rtol=2e-2, atol=2e-2)


def test_float64():
    torch.manual_seed(0)
    compare(grid(6, 2, 9).double(), 0, 2, state=torch.float64, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("case", STATIC, ids=Case.id)
def test_one_step_shown_often_is_a_sequence_of_equal_steps(case, backend):
    check(case, backend)


def test_a_static_input_gives_the_same_spikes_whatever_it_is():
    case = Case(shape=(1, 3, 5, 4), steps=50)
    shown, repeated = (run_case(case, "cpu", dyadic=False, repeat=r) for r in (False, True))
    for a, b in zip(shown[0], repeated[0], strict=True):
        assert torch.equal(a, b)


# the stride of an axis of length 1 says nothing
@pytest.mark.parametrize("batch_stride", [2**16, 1])
def test_a_static_input_and_its_gradients_are_never_copied(batch_stride):
    steps, neurons = 16, 2**16
    x, grad = torch.rand(1, 1, neurons, requires_grad=True), torch.rand(steps, 1, neurons)
    grad = grad.as_strided(grad.shape, (neurons, batch_stride, 1))

    def step():
        torch.autograd.grad(arguments(x, steps=steps).spikes, x, grad)

    assert saved_bytes(lambda: arguments(x, steps=steps).spikes) < 1.01 * x.nbytes
    # spikes; v, count, gradient of x
    assert grad.nbytes <= peak_bytes(step, 0) <= grad.nbytes + 3.1 * x.nbytes


@pytest.fixture
def all_past_the_caches(monkeypatch):
    """Treat every output as one that no cache could hold."""
    monkeypatch.setattr(cpu, "STREAM_BYTES", 0)
    for plans in (cpu.plan, direct._fitting):
        plans.cache_clear()
    yield
    for plans in (cpu.plan, direct._fitting):
        plans.cache_clear()


# one tile, several of them, several with a shorter last one; steps in whole fours and not
@pytest.mark.parametrize("shape", [(8, 1, 64), (7, 3, 336), (3, 1, 5008)])
@pytest.mark.parametrize("dtype", [F32, BF16, F64])
@pytest.mark.parametrize("learned", [True, False])
def test_large_outputs_go_past_the_caches_whole(shape, dtype, learned, all_past_the_caches):
    layout = Layout.of(torch.empty(shape), 0, 1)
    assert cpu._past_cache(layout, dtype)
    check(Case(shape=shape, dtype=dtype, channel_dim=1, learned=learned), "cpu")


@pytest.mark.parametrize("neurons", [64, 1008])
def test_spikes_of_a_static_input_go_past_the_caches(neurons, all_past_the_caches):
    assert cpu._past_cache(Layout.of(torch.empty(6, 1, neurons), 0, 1), F32)
    check(Case(shape=(1, 1, neurons), channel_dim=1, steps=6), "cpu")


# rows that begin anywhere in a line cannot be stored so
@pytest.mark.parametrize("shape", [(5, 1, 29), (7, 3, 331), (3, 1, 5003)])
def test_large_outputs_of_odd_rows_are_stored_plainly(shape, all_past_the_caches):
    assert not cpu._past_cache(Layout.of(torch.empty(shape), 0, 1), F32)
    check(Case(shape=shape, channel_dim=1), "cpu")


@pytest.mark.parametrize("static", [False, True])
def test_a_compiled_kernel_is_found_again(static):
    given = (np.float32, np.float32, "hard", False, False, static)
    forward_kernel(*given)
    forward_kernel.cache_clear()
    assert forward_kernel(*given).cache_hits == 1
    given = (np.float32, np.float32, "hard", True, 0, False, False, False, static)
    backward_kernel(*given)
    backward_kernel.cache_clear()
    assert backward_kernel(*given).cache_hits == 1


def arguments(x, **changes):
    options = {
        "v_reset": 0.0,
        "reset": "hard",
        "detach_reset": True,
        "surrogate": ATan(alpha=2.0),
        "time_dim": 0,
        "channel_dim": 2,
        "backend": "cpu",
    }
    half, one = torch.tensor(0.5), torch.tensor(1.0)
    values = {"v0": None, "decay": half, "gain": half, "v_th": one, **options, **changes}
    return lif(
        x, values.pop("v0"), values.pop("decay"), values.pop("gain"), values.pop("v_th"), **values
    )


def test_a_second_derivative_is_refused():
    x, weight = torch.rand(2, 3, 2, 4).requires_grad_()
    loss = (weight * arguments(x).spikes).sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_counts_are_the_sum_of_the_spikes_and_carry_no_gradient():
    out = arguments(torch.rand(9, 3, 4, requires_grad=True) * 4)
    torch.testing.assert_close(out.count, out.spikes.sum(0))
    assert out.count.any()
    assert not out.count.requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": torch.rand(3)}, r"decay has shape \(3,\), expected \(\) or \(4,\)"),
        ({"v0": torch.rand(4)}, r"v0 has shape \[4\], expected \[3, 4\]"),
        ({"reset": "soft "}, "reset='soft '"),
        ({"channel_dim": 0}, "both name axis 0"),
        ({"steps": 4}, r"steps=4 .* x \(9, 3, 4\) has 9 along its time axis 0"),
        ({"steps": 0}, "steps=0: expected at least 1"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        arguments(torch.rand(9, 3, 4), **changes)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="dtype"):
        arguments(torch.ones(2, 2, 2, dtype=torch.int64))


def test_a_named_backend_never_falls_back():
    with pytest.raises(BackendError, match="triton"):
        arguments(torch.rand(2, 2, 2), backend="triton")


def test_inference_saves_nothing():
    x = torch.rand(4, 2, 3, requires_grad=True)
    saved = []
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        arguments(x)
    assert saved == []


@pytest.mark.parametrize("steps", [None, 3])
def test_the_operator_passes_torchs_own_checks(steps):
    x = grid(1 if steps else 3, 2, 4).requires_grad_()
    half = torch.tensor(0.5, requires_grad=True)
    one = torch.tensor(1.0, requires_grad=True)
    v0 = torch.zeros(2, 4, requires_grad=True)
    given = (x, v0, half, half, one, 0.0, "hard", True, "atan", [2.0], 0, 2, steps, "cpu")
    torch.library.opcheck(
        lif_op.overload,
        given,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


class Watching(TorchDispatchMode):
    """Lets operators through; while it is on, calls go through the dispatcher."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        self.seen.append(str(op))
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", [Case(shape=(5, 2, 7)), *STATIC[:1]], ids=Case.id)
def test_a_watched_call_computes_the_same(case):
    alone = run_case(case, "cpu")
    with Watching() as watch:
        watched = run_case(case, "cpu")
    assert {"snnexp.lif.default", "snnexp.lif_backward.default"} <= set(watch.seen)
    for ours, theirs in zip(alone, watched, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)
