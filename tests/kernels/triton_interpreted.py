"""The Triton kernels in Triton's interpreter, on CPU tensors.

Run by test_triton.py in a process of its own: TRITON_INTERPRET=1 must be set before Triton is
imported, and disturbs what else uses Triton.
"""

import pytest
import torch

from snnexp.kernels.lif import triton
from tests.kernels.lif_cases import CASES, EMPTY, F32, STATIC, Case, check, run


@pytest.mark.parametrize("case", CASES + STATIC, ids=Case.id)
def test_outputs_and_gradients_equal_the_reference(case):
    check(case, "triton")


@pytest.mark.parametrize("case", EMPTY, ids=Case.id)
def test_nothing_in_nothing_out(case):
    check(case, "triton")


def test_random_inputs_give_the_same_spikes_to_the_last_bit():
    check(Case(shape=(40, 2, 5, 6), detach=True), "triton", dyadic=False)


def test_addresses_of_64_bits(monkeypatch):
    monkeypatch.setattr(triton, "INT32_REACH", 0)
    check(Case(shape=(18, 3, 2, 6), time_dim=2, channel_dim=1), "triton")


def test_gradients_of_parameters_are_the_same_each_time():
    case = Case(shape=(5, 7, 3, 11), by_channel=("gain",))
    first, again = run(case, "triton"), run(case, "triton")
    for a, b in zip(first[1], again[1], strict=True):
        assert torch.equal(a, b)


def test_a_row_is_cut_into_programs():
    check(Case(shape=(3, 2, 3, 200)), "triton")
    assert triton.forward_tile(1200, F32.itemsize).block < 1200
