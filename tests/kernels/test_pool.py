"""Max pooling: torch's numbers, with one byte an output kept for the backward."""

import pytest
import torch
import torch.nn.functional as F

from scripts.bench_timing import saved_bytes
from snnexp.kernels.pool import cpu, max_pool
from snnexp.kernels.pool.op import pool_op, unpool_op

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
# (batch, channels, size, kernel, stride, padding)
CASES = {
    "apart": (3, 32, (8, 6), 2, 2, 0),
    "apart, a rest": (2, 16, (7, 9), 2, 2, 0),
    "over one another": (2, 64, (9, 12), 3, 2, 1),
    "every pixel": (1, 16, (5, 6), 3, 1, 1),
    "gaps": (2, 16, (11, 8), 2, 3, 0),
    "few channels": (2, 3, (6, 7), 3, 2, 1),
    "a vector and some": (1, 21, (6, 7), 2, 2, 1),
    "one window": (2, 17, (4, 4), 4, 4, 0),
    "the largest": (1, 2, (16, 17), 16, 16, 0),
}
WINDOWS = {"spikes": 2, "counts": 5, "many": 1000}


def results(pool, x, grad=None):
    x = x.detach().requires_grad_()
    out = pool(x)
    if grad is None:
        grad = torch.randint(-8, 9, out.shape).to(out.dtype)
    return out.detach(), torch.autograd.grad(out, x, grad)[0], grad


def same_as_torch(x, *window):
    ours, our_grad, grad = results(lambda x: max_pool(x, *window), x)
    plain, plain_grad, _ = results(lambda x: F.max_pool2d(x, *window), x, grad)
    # torch sums in the type of the gradient: whole numbers come out the same
    torch.testing.assert_close(ours, plain, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(our_grad, plain_grad, rtol=0, atol=0)


@pytest.mark.parametrize("values", WINDOWS)
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_torchs(case, values):
    torch.manual_seed(0)
    batch, channels, size, *window = CASES[case]
    x = torch.randint(0, WINDOWS[values], (batch, channels, *size)).float()
    same_as_torch(x, *window)
    same_as_torch(x.contiguous(memory_format=torch.channels_last), *window)


@pytest.mark.parametrize("dtype", [F16, BF16, F64])
@pytest.mark.parametrize("channels", [3, 16])
def test_other_numbers(dtype, channels):
    torch.manual_seed(0)
    same_as_torch(torch.randint(-9, 9, (2, channels, 6, 7)).to(dtype), 3, 2, 1)


@pytest.mark.parametrize("channels", [3, 16])
def test_what_is_no_number_is_not_lost(channels):
    torch.manual_seed(0)
    x = torch.randn(2, channels, 9, 8)
    x[torch.rand_like(x) < 0.2] = torch.nan
    x[torch.rand_like(x) < 0.4] = -torch.inf
    same_as_torch(x, 3, 2, 1)


@pytest.mark.parametrize("dtype", [F32, BF16, F64])
@pytest.mark.parametrize("channels", [32, 35])
def test_large_inputs_are_shared_among_tasks_and_stored_past_the_caches(
    channels, dtype, monkeypatch
):
    torch.manual_seed(0)
    monkeypatch.setattr(cpu, "STREAM_BYTES", 2**18)
    x = torch.randint(0, 3, (8, channels, 33, 35)).to(dtype)
    assert x.numel() > 2 * cpu.TASK_NUMBERS
    same_as_torch(x, 3, 2, 1)


@pytest.mark.parametrize("shape", [(0, 4, 6, 6), (2, 0, 6, 6)])
def test_nothing_gives_nothing(shape):
    x = torch.empty(shape, requires_grad=True)
    out = max_pool(x, 2, 2, 0)
    assert out.shape == (*shape[:2], 3, 3)
    assert torch.autograd.grad(out.sum(), x)[0].shape == shape


def test_a_byte_an_output_is_kept():
    x = torch.rand(2, 16, 8, 8, requires_grad=True)
    assert saved_bytes(lambda: max_pool(x, 2, 2, 0)) == 2 * 16 * 4 * 4


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((17, 1, 0), "kernel=17.*expected a kernel from 1 to 16"),
        ((2, 0, 0), "stride=0"),
        ((2, 2, 2), "padding=2.*at most half"),
        ((7, 2, 1), r"x has shape \(1, 2, 4, 4\), too small for windows of 7 x 7"),
    ],
)
def test_what_does_not_fit_is_named(window, message):
    with pytest.raises(ValueError, match=message):
        max_pool(torch.rand(1, 2, 4, 4), *window)


def test_a_second_derivative_is_refused():
    x = torch.rand(1, 2, 4, 4, requires_grad=True)
    (grad,) = torch.autograd.grad((max_pool(x, 2, 2, 0) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_they_are_operators_of_torch():
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    x = torch.randn(2, 5, 7, 6, requires_grad=True)
    torch.library.opcheck(pool_op.overload, (x, 3, 2, 1), test_utils=tests)
    grad, position = (t.detach() for t in pool_op(x, 3, 2, 1))
    given = (grad, position, 3, 2, 1, 7, 6)
    torch.library.opcheck(unpool_op.overload, given, test_utils=tests)


def test_it_compiles_to_one_graph():
    torch.manual_seed(0)
    x = torch.randint(0, 3, (2, 5, 7, 6)).float()
    run = torch.compile(lambda x: max_pool(x, 3, 2, 1), fullgraph=True, backend="aot_eager")
    *ours, grad = results(run, x)
    *plain, _ = results(lambda x: F.max_pool2d(x, 3, 2, 1), x, grad)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_kernels_are_found_by_other_processes():
    given = cpu.STORED[F32], cpu.STATE[F32]
    for kernel, more in ((cpu.pool_kernel, ()), (cpu.unpool_kernel, (True,))):
        kernel.cache_clear()
        kernel(*given, *more)
        kernel.cache_clear()
        assert kernel(*given, *more).cache_hits == 1
