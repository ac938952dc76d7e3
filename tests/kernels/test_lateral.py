"""The scan with lateral reset: the Numba provider gives the reference's outputs and gradients."""

import itertools

import pytest
import torch

from snnexp.kernels.backend import BackendError
from snnexp.kernels.lateral import lateral
from snnexp.kernels.lateral.op import lateral_op
from snnexp.kernels.lif import lif
from snnexp.surrogates import (
    ATan,
    Erf,
    FastSigmoid,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Triangle,
)

SURROGATES = (
    ATan(alpha=2.0),
    Sigmoid(alpha=10.0, scaled=False),
    Sigmoid(alpha=4.0, scaled=True),
    FastSigmoid(alpha=3.0),
    Triangle(alpha=1.0, peak=0.3),
    Rectangle(alpha=0.7),
    Erf(alpha=1.5),
    MultiGaussian(gamma=0.5, sigma=0.5, spread=6.0, height=0.15),
)


def grid(*shape, low=-64, high=128):
    """Multiples of 1/64: all sums and products of the scan are exact, so no spike can flip."""
    return torch.randint(low, high, shape) / 64


def run(backend, x, time_dim, channel_dim, *, with_v0=True, scalar=False, detach=False,
        surrogate=SURROGATES[1], state=torch.float32):  # fmt: skip
    torch.manual_seed(1)
    channels = x.shape[channel_dim]
    step = [n for axis, n in enumerate(x.shape) if axis != time_dim]
    size = () if scalar else (channels,)
    x = x.clone().requires_grad_()
    v0 = grid(*step).to(state).requires_grad_() if with_v0 else None
    decay = torch.full((), 0.5, dtype=state, requires_grad=True)
    gain = (torch.randint(1, 4, size) / 2).to(state).requires_grad_()
    v_th = (torch.randint(2, 5, size) / 4).to(state).requires_grad_()
    reset_CC = (torch.randint(-4, 9, (channels, channels)) / 8).to(state).requires_grad_()
    out = lateral(
        x,
        v0,
        decay,
        gain,
        v_th,
        reset_CC,
        detach_reset=detach,
        surrogate=surrogate,
        time_dim=time_dim,
        channel_dim=channel_dim,
        backend=backend,
    )
    weight = torch.randn(x.shape, dtype=x.dtype), torch.randn(step, dtype=state)
    ((out.spikes * weight[0]).sum() + (out.v * weight[1]).sum()).backward()
    params = {"decay": decay, "gain": gain, "v_th": v_th, "reset_CC": reset_CC}
    grads = {"x": x.grad, "v0": v0.grad if with_v0 else None}
    return out, grads | {name: p.grad for name, p in params.items()}


def compare(x, time_dim, channel_dim, *, rtol=1e-4, atol=1e-4, **options):
    out, grads = run("reference", x, time_dim, channel_dim, **options)
    got, got_grads = run("cpu", x, time_dim, channel_dim, **options)
    assert out.spikes.any()
    for a, b in zip(got, out, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for name, expected in grads.items():
        if expected is None:
            assert got_grads[name] is None
            continue
        # a sum over all neurons and steps has an error in proportion to what it adds up
        scale = max(1.0, expected.float().abs().max().item())
        torch.testing.assert_close(
            got_grads[name],
            expected,
            rtol=rtol,
            atol=atol * scale,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize(
    ("detach", "scalar"), list(itertools.product((True, False), (True, False)))
)
def test_outputs_and_gradients_equal_the_reference(detach, scalar):
    torch.manual_seed(0)
    compare(grid(6, 3, 5, 4), 0, 2, detach=detach, scalar=scalar)


@pytest.mark.parametrize("steps", [1, 7, 63])
@pytest.mark.parametrize(("places", "channels"), [(1, 1), (3, 20), (25, 41)])
def test_odd_sizes(steps, places, channels):
    torch.manual_seed(0)
    compare(grid(steps, places, channels, high=200), 0, 2, with_v0=False)


@pytest.mark.parametrize(("time_dim", "channel_dim"), list(itertools.permutations(range(4), 2)))
def test_any_axes(time_dim, channel_dim):
    torch.manual_seed(0)
    compare(grid(3, 4, 5, 6), time_dim, channel_dim)


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


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: s.name)
def test_every_surrogate(surrogate):
    torch.manual_seed(0)
    compare(grid(5, 2, 8), 0, 2, surrogate=surrogate)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_input_keeps_a_float32_state(dtype):
    torch.manual_seed(0)
    compare(grid(6, 2, 40).to(dtype), 0, 2, rtol=2e-2, atol=2e-2)


def test_float64():
    torch.manual_seed(0)
    compare(grid(6, 2, 9).double(), 0, 2, state=torch.float64, rtol=1e-12, atol=1e-12)


def scan(x, decay=0.5, gain=0.5, v_th=1.0, reset=None, **changes):
    channels = x.shape[changes.get("channel_dim", 2)]
    options = {
        "detach_reset": True,
        "surrogate": ATan(alpha=2.0),
        "time_dim": 0,
        "channel_dim": 2,
        "backend": "cpu",
        **changes,
    }
    params = [torch.as_tensor(p) for p in (decay, gain, v_th)]
    reset = torch.eye(channels) if reset is None else reset
    return lateral(x, options.pop("v0", None), *params, reset, **options)


def test_many_places_in_many_tasks_give_what_each_gives_alone():
    torch.manual_seed(0)
    x, reset = torch.randn(50, 300, 16) * 3, torch.rand(16, 16) / 4
    whole = scan(x, reset=reset)
    for b in (0, 137, 299):
        alone = scan(x[:, b : b + 1], reset=reset)
        assert torch.equal(alone.spikes, whole.spikes[:, b : b + 1])
        assert torch.equal(alone.v, whole.v[b : b + 1])


def test_a_diagonal_matrix_is_the_soft_reset_of_the_lif_scan():
    torch.manual_seed(0)
    x, v_th = grid(9, 3, 4), torch.tensor([0.5, 0.75, 1.0, 1.25])
    half = torch.tensor(0.5)
    expected = lif(
        x,
        None,
        half,
        half,
        v_th,
        v_reset=0.0,
        reset="soft",
        detach_reset=True,
        surrogate=ATan(alpha=2.0),
        time_dim=0,
        channel_dim=2,
        backend="reference",
    )
    got = scan(x, v_th=v_th, reset=v_th.diag())
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


def test_uninitialised_memory_does_not_show():
    torch.manual_seed(0)
    x = grid(5, 7, 9)
    expected = run("cpu", x, 0, 2)
    torch.use_deterministic_algorithms(True)
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = True  # with NaN
    try:
        got = run("cpu", x, 0, 2)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
    for a, b in zip(got[0], expected[0], strict=True):
        assert torch.equal(a, b)
    for name, grad in expected[1].items():
        assert torch.equal(got[1][name], grad), name


def test_random_input_agrees_up_to_the_first_membrane_near_its_threshold():
    torch.manual_seed(0)
    x, reset = torch.randn(80, 40, 12) * 2, torch.randn(12, 12) / 3
    got, expected = (scan(x, 0.7, 0.31, reset=reset, backend=b) for b in ("cpu", "reference"))
    # the spikes of a place are a function of its past: they agree until rounding decides one
    near = torch.zeros(40, dtype=torch.bool)
    v, seen = torch.zeros(40, 12, dtype=torch.float64), 0
    for t in range(80):
        h = 0.7 * v + 0.31 * x[t].double()
        near |= ((h - 1).abs() < 1e-5).any(1)
        assert torch.equal(got.spikes[t][~near], expected.spikes[t][~near])
        seen += int((~near).sum())
        v = h - expected.spikes[t].double() @ reset.double().T
    assert seen > 0.9 * 80 * 40
    torch.testing.assert_close(got.v[~near], expected.v[~near], rtol=1e-4, atol=1e-4)


def test_counts_are_the_sum_of_the_spikes_and_carry_no_gradient():
    out = scan(torch.rand(9, 3, 4, requires_grad=True) * 4)
    torch.testing.assert_close(out.count, out.spikes.sum(0))
    assert out.count.any()
    assert not out.count.requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": torch.rand(3)}, r"decay has shape \(3,\), expected \(\) or \(4,\)"),
        ({"v0": torch.rand(4)}, r"v0 has shape \[4\], expected \[3, 4\]"),
        ({"reset": torch.rand(4, 3)}, r"reset_CC has shape \(4, 3\), expected \(4, 4\)"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        scan(torch.rand(9, 3, 4), **changes)


def test_triton_is_refused_by_name():
    with pytest.raises(BackendError, match="lateral reset has no Triton kernel"):
        scan(torch.rand(2, 2, 2), backend="triton")


def test_inference_saves_nothing():
    x = torch.rand(4, 2, 3, requires_grad=True)
    saved = []
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        scan(x)
    assert saved == []


def test_a_second_derivative_is_refused():
    x = torch.rand(4, 2, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(scan(x).spikes.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad.sum().backward()


def test_the_operator_passes_torchs_own_checks():
    x = grid(3, 2, 4).requires_grad_()
    half = torch.tensor(0.5, requires_grad=True)
    one = torch.tensor(1.0, requires_grad=True)
    v0 = torch.zeros(2, 4, requires_grad=True)
    reset = torch.eye(4, requires_grad=True)
    given = (x, v0, half, half, one, reset, True, "atan", [2.0], 0, 2)
    torch.library.opcheck(
        lateral_op.overload,
        given,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
