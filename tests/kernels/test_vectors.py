"""Vectors compute what sixteen numbers do, one by one."""

import numpy as np
import pytest
import torch
from numba import njit

from snnexp.kernels.arithmetic import exp
from snnexp.kernels.vectors import (
    LANES,
    fused,
    lanes_of,
    load_lanes,
    maximum,
    store_lanes,
    store_lanes_past_cache,
    sum_of,
    where,
)


@njit
def arithmetic(x, y, out):
    a, b = load_lanes(x, 1), load_lanes(y, 0)
    store_lanes(out, 0, a + b)
    store_lanes(out, LANES, a - b)
    store_lanes(out, 2 * LANES, a * b)
    store_lanes(out, 3 * LANES, a / b)
    store_lanes(out, 4 * LANES, -abs(a))
    store_lanes(out, 5 * LANES, where(a < b, a, b))
    store_lanes(out, 6 * LANES, where(a >= b, a, b))
    store_lanes(out, 7 * LANES, maximum(a, b))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_operators_round_once_and_keep_nan(kind):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(LANES + 1).astype(kind), rng.standard_normal(LANES).astype(kind)
    x[3], y[5], y[7] = np.nan, np.nan, x[8]
    out = np.empty(8 * LANES, kind)
    arithmetic(x, y, out)
    a = x[1:]
    expected = [
        a + y,
        a - y,
        a * y,
        a / y,
        -abs(a),
        np.where(a < y, a, y),
        np.where(a >= y, a, y),
        np.where(a < y, y, a),
    ]
    np.testing.assert_array_equal(out.reshape(8, LANES), expected)


@njit
def exponentials(x, out):
    for k in range(0, x.size, LANES):
        store_lanes(out, k, exp(load_lanes(x, k)))


@pytest.mark.parametrize(("kind", "ulps"), [(np.float32, 2), (np.float64, 1)])
def test_exp(kind, ulps):
    x = -np.linspace(0, 87, 4096).astype(kind)
    out = np.empty_like(x)
    exponentials(x, out)
    np.testing.assert_array_max_ulp(out, np.exp(x.astype(np.float64)).astype(kind), ulps)


def test_exp_far_below_is_almost_nothing_and_of_nan_is_nan():
    x = np.repeat(np.array([-200.0, np.nan], np.float32), LANES)
    out = np.empty_like(x)
    exponentials(x, out)
    assert (out[:LANES] < 1e-37).all()
    assert np.isnan(out[LANES:]).all()


@njit
def copy(source, target, past_cache):
    for k in range(0, source.size, LANES):
        if past_cache:
            store_lanes_past_cache(target, k, load_lanes(source, k))
        else:
            store_lanes(target, k, load_lanes(source, k))


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize(
    ("dtype", "bits"), [(torch.bfloat16, np.uint16), (torch.float16, np.int16)]
)
def test_sixteen_bits_are_rounded_as_torch_rounds(dtype, bits, past_cache):
    x = torch.cat([torch.randn(60) * 2.0 ** torch.randint(-12, 12, (60,)), torch.full((4,), 1.0)])
    step = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-11
    x[:4] = torch.tensor([1 + step, 1 + 3 * step, torch.nan, -torch.inf])  # ties go to even
    rounded = torch.empty(64, dtype=dtype)
    copy(x.numpy(), rounded.view(torch.int16).numpy().view(bits), past_cache)
    torch.testing.assert_close(rounded, x.to(dtype), rtol=0, atol=0, equal_nan=True)
    back = torch.empty(64)
    copy(rounded.view(torch.int16).numpy().view(bits), back.numpy(), past_cache)
    torch.testing.assert_close(back, rounded.float(), rtol=0, atol=0, equal_nan=True)


@njit
def spread(value, out):
    store_lanes(out, 3, lanes_of(value))


def test_a_number_fills_a_vector_and_no_more():
    out = np.zeros(32, np.float32)
    spread(np.float32(2.5), out)
    assert (out[3 : 3 + LANES] == 2.5).all()
    assert out[:3].sum() == out[3 + LANES :].sum() == 0


@njit
def added(x, y, out):
    a, b = load_lanes(x, 0), load_lanes(y, 0)
    store_lanes(out, 0, fused(a, b, a))
    return sum_of(a)


def test_sums():
    x, y, out = (np.arange(LANES) * s for s in (0.5, 3.0, 0.0))
    assert added(x, y, out) == x.sum()
    np.testing.assert_array_equal(out, x * y + x)
