"""What is left of a training step when only its products are computed."""

from collections import Counter

import pytest
import torch
import torch.nn as nn

from scripts.bench_limit import ATEN, Recorder, products_of


def test_products_are_computed_again_and_nothing_else():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )
    x, steps = torch.randn(4, 1, 6, 6), []

    def step():
        net(x).square().sum().backward()
        steps.append(1)

    products = products_of(step)
    weights = [p.detach().clone() for p in net.parameters()]
    with Recorder() as again:
        products()
    # the input needs no gradient: the linear layer has two products in the backward
    assert Counter(op for op, *_ in again.calls) == {
        ATEN.convolution.default: 1,
        ATEN.convolution_backward.default: 1,
        ATEN.addmm.default: 1,
        ATEN.mm.default: 2,
    }
    assert len(steps) == 1
    assert all(torch.equal(a, b) for a, b in zip(weights, net.parameters(), strict=True))


def test_a_step_without_products_is_refused():
    with pytest.raises(ValueError, match="multiplies nothing"):
        products_of(lambda: None)
