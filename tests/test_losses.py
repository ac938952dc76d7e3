"""Losses against hand-computed values and gradients."""

import pytest
import torch

from snnexp.losses import CrossEntropy, MeanSquaredRate, SquaredSpikes


def price_of(penalty, *spikes):
    return penalty([penalty.of_layer(s) for s in spikes])


def test_squared_spikes_is_half_the_rate_weighted_by_depth():
    one = torch.tensor([0.0, 1.0, 1.0, 1.0], requires_grad=True)
    two = torch.tensor([0.0, 1.0], requires_grad=True)
    price = price_of(SquaredSpikes(weight=0.1, by_depth=True), one, two)
    assert price.item() == pytest.approx(0.1 * (0.5 * 0.5 * 0.75 + 1.0 * 0.5 * 0.5))
    price.backward()
    # the gradient is proportional to s: silent neurons get none
    torch.testing.assert_close(one.grad, 0.1 * 0.5 * one.detach() / 4)
    flat = price_of(SquaredSpikes(weight=0.1, by_depth=False), one, two)
    assert flat.item() == pytest.approx(0.1 * (0.5 * 0.75 + 0.5 * 0.5))


def test_squared_spikes_of_strided_half_precision_spikes():
    spikes = (torch.rand(3, 8, 5, 7) < 0.3).to(torch.bfloat16)
    spikes = spikes.contiguous(memory_format=torch.channels_last).requires_grad_()
    price = price_of(SquaredSpikes(weight=2.0, by_depth=False), spikes)
    assert price.dtype == torch.float32
    assert price.item() == pytest.approx(float(spikes.detach().float().mean()), rel=1e-6)
    price.backward()
    expected = 2.0 * spikes.detach().float() / spikes.numel()
    torch.testing.assert_close(spikes.grad.float(), expected, rtol=1e-2, atol=0)


def test_squared_spikes_needs_layers():
    with pytest.raises(ValueError, match=r"loss\.activity"):
        SquaredSpikes(weight=1.0, by_depth=True)([])


def test_cross_entropy_adds_the_penalty_and_reports_the_parts():
    scores, target = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    loss = CrossEntropy(label_smoothing=0.0, activity=SquaredSpikes(weight=1.0, by_depth=False))
    terms = loss(scores, target, [loss.activity.of_layer(torch.ones(4))])
    expected = torch.log(1 + torch.exp(torch.tensor(-2.0)))
    torch.testing.assert_close(terms["task"], expected)
    torch.testing.assert_close(terms["loss"], expected + 0.5)
    assert terms["activity"].item() == 0.5
    plain = CrossEntropy(label_smoothing=0.0, activity=None)(scores, target)
    assert set(plain) == {"loss"}


def test_mean_squared_rate():
    rates, target = torch.tensor([[0.5, 0.25]]), torch.tensor([0])
    got = MeanSquaredRate(activity=None)(rates, target)["loss"]
    assert got.item() == pytest.approx((0.25 + 0.0625) / 2)


def test_losses_compute_in_float32_under_low_precision():
    scores = torch.tensor([[20.0, 0.1]], dtype=torch.bfloat16)
    got = CrossEntropy(label_smoothing=0.0, activity=None)(scores, torch.tensor([1]))["loss"]
    assert got.dtype == torch.float32
