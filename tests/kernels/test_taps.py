"""Convolutions of enlarged input, their products taken at the small size, against torch's."""

import pytest
import torch
import torch.nn.functional as F

from snnexp.kernels import taps
from snnexp.kernels.taps import conv_enlarged, cpu, enlarge, reference, sum_taps
from snnexp.kernels.taps.op import spread_op, sum_op

F32, F64 = torch.float32, torch.float64
# (batch, inputs, outputs, kernel, size of the input, size of the output)
CASES = {
    "whole vectors": (2, 3, 32, 5, (5, 7), (10, 13)),
    "one channel": (2, 3, 1, 3, (5, 7), (20, 27)),
    "a vector and some": (1, 4, 19, 3, (4, 3), (7, 6)),
    "the same size": (1, 2, 16, 3, (6, 5), (6, 5)),
    "a smaller size": (1, 2, 16, 5, (9, 8), (3, 2)),
    "one tap": (2, 2, 16, 1, (3, 4), (7, 8)),
    "one pixel": (1, 2, 5, 7, (1, 1), (2, 3)),
}


def whole(*shape, dtype=F32):
    """Return small whole numbers, of which sums are exact in any order."""
    return torch.randint(-3, 4, shape).to(dtype)


def results(run, *given):
    """Return the output and the gradients of a function, for an uneven gradient of the output."""
    given = [x.detach().requires_grad_() for x in given]
    out = run(*given)
    weight = (torch.arange(out.numel()) % 7 - 3).to(out.dtype).view_as(out)
    return [out, *torch.autograd.grad(out, given, weight)]


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_convolution_of_the_enlarged_input(case, dtype):
    torch.manual_seed(0)
    batch, inputs, outputs, kernel, low, size = CASES[case]
    x = whole(batch, inputs, *low, dtype=dtype)
    weight = whole(outputs, inputs, kernel, kernel, dtype=dtype)
    ours = results(lambda x, w: conv_enlarged(x, w, size), x, weight)
    plain = results(lambda x, w: F.conv2d(enlarge(x, size, kernel), w), x, weight)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)


# parts of whole vectors, and a rest
@pytest.mark.parametrize("outputs", [32, 53])
def test_products_too_large_for_memory_are_made_in_parts(outputs, monkeypatch):
    torch.manual_seed(0)
    x, weight, size = whole(2, 3, 5, 7), whole(outputs, 3, 5, 5), (10, 13)
    at_once = results(lambda x, w: conv_enlarged(x, w, size), x, weight)
    products = 2 * 5 * 7 * 25 * outputs * x.itemsize
    parts = []
    monkeypatch.setattr(taps, "MOST_BYTES", products // 3)
    monkeypatch.setattr(taps, "sum_op", lambda *args: parts.append(args) or sum_op(*args))
    in_parts = results(lambda x, w: conv_enlarged(x, w, size), x, weight)
    assert [z.shape[1] // 25 for z, *_ in parts] == {32: [16, 16], 53: [32, 21]}[outputs]
    for a, b in zip(in_parts, at_once, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_torch_operations_add_the_same(case):
    torch.manual_seed(0)
    batch, _, outputs, kernel, low, size = CASES[case]
    z = whole(batch, kernel**2 * outputs, *low)
    ours = results(lambda z: sum_taps(z, kernel, size), z)
    plain = results(lambda z: reference(z, kernel, size), z)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)


DECODER = ((17, 33), (22, 44), (33, 65), (44, 87), (65, 130), (87, 173), (130, 260), (173, 346))
HEADS = ((33, 260), (44, 346), (65, 260), (87, 346))
# Here a pixel's place is rounded, and torch does it in two ways: this one in float32, and in
# float64 with channels last, as models have them on a CPU; the other with channels first.
ROUNDED = ((2, 78), (6, 119), (3, 119))


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(("low", "size"), [*DECODER, *HEADS, *ROUNDED])
def test_it_copies_the_pixels_that_torch_copies(low, size, dtype):
    first = cpu.first_copies(low, size + 4)
    copies = torch.arange(low).repeat_interleave(first.diff())
    x = torch.arange(low, dtype=dtype).expand(1, 16, low, low)
    x = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(copies.to(dtype), enlarge(x, (size, size), 5)[0, 0, 0])


def test_tables_are_made_on_the_cpu_whatever_the_default_device():
    cpu.first_copies.cache_clear()
    z = whole(1, 9, 3, 3)
    with torch.device("meta"):
        there = sum_taps(z, 3, (5, 5))
    assert torch.equal(there, reference(z, 3, (5, 5)))


def test_sums_do_not_depend_on_how_rows_are_shared_out(monkeypatch):
    torch.manual_seed(0)
    z = torch.randn(3, 9 * 16, 20, 17)
    alone = results(lambda z: sum_taps(z, 3, (41, 33)), z)
    monkeypatch.setattr(cpu, "TASK_SUMS", 1)
    monkeypatch.setattr(cpu, "TASK_ROWS", 7)  # 41 rows: tasks reach across pictures
    many = results(lambda z: sum_taps(z, 3, (41, 33)), z)
    assert all(torch.equal(a, b) for a, b in zip(alone, many, strict=True))


def test_layouts():
    torch.manual_seed(0)
    z, grad = whole(2, 9 * 16, 5, 4), whole(2, 16, 9, 8)
    sums = []
    for of in (z, z.contiguous(memory_format=torch.channels_last), z.mT.contiguous().mT):
        for by in (
            grad,
            grad.contiguous(memory_format=torch.channels_last),
            grad[:, :1].expand_as(grad),
        ):
            x = of.detach().requires_grad_()
            out = sum_taps(x, 3, (9, 8))
            assert out.is_contiguous(memory_format=torch.channels_last)
            plain = reference(x, 3, (9, 8))
            torch.testing.assert_close(
                torch.autograd.grad(out, x, by), torch.autograd.grad(plain, x, by)
            )
            sums.append(out)
    assert all(torch.equal(sums[0], other) for other in sums)


def test_nothing_to_add():
    assert sum_taps(torch.randn(0, 9, 3, 3), 3, (5, 5)).shape == (0, 1, 5, 5)


def test_other_numbers_are_added_by_torch():
    z = torch.randn(1, 9, 3, 3).bfloat16()
    out = sum_taps(z, 3, (5, 5))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), sum_taps(z.float(), 3, (5, 5)), rtol=0.02, atol=0.02)


def test_gradients_of_gradients():
    z = torch.randn(1, 9 * 2, 2, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: sum_taps(z, 3, (4, 5)), z)
    assert torch.autograd.gradgradcheck(lambda z: sum_taps(z, 3, (4, 5)) ** 2, z)


@pytest.mark.parametrize(("op", "size"), [(sum_op, (5, 7)), (spread_op, (3, 4))])
def test_it_is_an_operator_of_torch(op, size):
    shape = (2, 9 * 16, 3, 4) if op is sum_op else (2, 16, 5, 7)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.library.opcheck(
        op.overload,
        (x, 3, *size),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_it_compiles_to_one_graph():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 4, 5), torch.randn(16, 3, 3, 3)
    run = torch.compile(
        lambda x, w: conv_enlarged(x, w, (8, 9)), fullgraph=True, backend="aot_eager"
    )
    for a, b in zip(
        results(run, x, weight),
        results(lambda x, w: conv_enlarged(x, w, (8, 9)), x, weight),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_kernels_are_found_by_other_processes():
    for kernel in (cpu.sum_kernel, cpu.spread_kernel):
        kernel.cache_clear()
        kernel(cpu.STORED[F32])
        kernel.cache_clear()
        assert kernel(cpu.STORED[F32]).cache_hits == 1
