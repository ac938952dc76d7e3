"""The depth loss against hand-computed values, and what its borders do."""

import pytest
import torch
import torch.nn.functional as F

from snnexp.depth_loss import ResidualVariance, SquaredSums


def loss_of(prediction, target, weight=0.5):
    return ResidualVariance(gradient_weight=weight, activity=None)(prediction, target)["loss"]


def facts(prediction, target):
    """The loss of one map as the facts put it: masked sums, unnormalised Sobel, zero padding."""
    mask = ~torch.isnan(target)
    n = mask.sum()
    residual = torch.where(mask, prediction - target, torch.zeros(()))
    inside = residual[mask]
    variance = inside.pow(2).sum() / n - (inside.sum() / n) ** 2
    sobel_x = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None]
    sobel_y = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])[None, None]
    slopes = [F.conv2d(residual, k, padding=1)[mask].abs().sum() for k in (sobel_x, sobel_y)]
    return variance + 0.5 * sum(slopes) / n


def holes(shape, share=0.3, seed=0):
    g = torch.Generator().manual_seed(seed)
    target = 1 + 5 * torch.rand(shape, generator=g)
    target[torch.rand(shape, generator=g) < share] = torch.nan
    return target


def test_equals_the_written_formula_and_its_gradient():
    target = holes((3, 1, 7, 9))
    maps = [torch.randn(3, 1, 7, 9, requires_grad=True) for _ in range(4)]
    got = loss_of(tuple(maps), target)
    expected = sum(facts(m, target) for m in maps)
    torch.testing.assert_close(got, expected)
    gradients = torch.autograd.grad(got, maps)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, maps), strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours[torch.isnan(target)].abs().max() == 0


def test_known_pixels_are_counted_over_the_batch():
    target = torch.full((2, 1, 3, 3), torch.nan)
    target[0, 0, 1, 1], target[1, 0] = 1.0, 2.0
    prediction = torch.zeros_like(target)
    prediction[1, 0, 0, 0] = 1.0
    torch.testing.assert_close(loss_of(prediction, target), facts(prediction, target))


@pytest.mark.parametrize("offset", [-2.0, 0.5])
def test_only_the_border_feels_a_constant_offset(offset):
    height, width = 6, 8
    target = 1 + torch.rand(1, 1, height, width)
    got = loss_of(target + offset, target)
    # variance 0; Sobel sees the step to the zeros outside: 4|c| along a side, 3|c| in a corner
    sides = 2 * (4 * (height - 2) + 2 * 3) + 2 * (4 * (width - 2) + 2 * 3)
    torch.testing.assert_close(got, torch.tensor(0.5 * abs(offset) * sides / (height * width)))


def test_a_hole_anchors_depth_too():
    target = torch.ones(1, 1, 40, 40)
    pierced = target.clone()
    pierced[..., 20, 20] = torch.nan
    whole = loss_of(target + 1, target)
    # 8 neighbours of the hole see it: 2|c| from each of the 4 sides, (1 + 1)|c| from each corner
    expected = (whole * 1600 + 0.5 * (4 * 2 + 4 * 2)) / 1599
    torch.testing.assert_close(loss_of(target + 1, pierced), expected)


def test_without_the_gradient_term_depth_is_free():
    target = holes((2, 1, 6, 6))
    prediction = torch.randn(2, 1, 6, 6)
    torch.testing.assert_close(
        loss_of(prediction, target, weight=0.0), loss_of(prediction + 7, target, weight=0.0)
    )


def test_a_batch_without_depth_costs_nothing():
    prediction = torch.randn(1, 1, 4, 4, requires_grad=True)
    got = loss_of((prediction,), torch.full((1, 1, 4, 4), torch.nan))
    assert got.item() == 0
    got.backward()
    assert prediction.grad.abs().max() == 0


def test_low_precision_maps_are_compared_in_float32():
    target = holes((1, 1, 8, 8))
    prediction = torch.randn(1, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        got = loss_of((prediction.bfloat16(),), target)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, loss_of(prediction.bfloat16().float(), target))


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 5\)"):
        loss_of((torch.zeros(1, 1, 4, 5),), torch.zeros(1, 1, 4, 4))


def test_squared_sums():
    one = torch.tensor([0.0, 1.0, 1.0, 1.0], requires_grad=True)
    two = torch.tensor([0.0, 0.0, 1.0, 1.0], requires_grad=True)
    price = SquaredSums(weight=2.0, sums=[[0, 1], [1]])([one, two])
    assert price.item() == pytest.approx(2 * (0.5 * (0 + 1 + 4 + 4) / 4 + 0.5 * 2 / 4))
    price.backward()
    # silent sites get no gradient, shared ones twice that of single ones
    torch.testing.assert_close(one.grad, 2 * torch.tensor([0.0, 1.0, 2.0, 2.0]) / 4)


def test_squared_sums_needs_its_layers():
    with pytest.raises(ValueError, match=r"layer 4, .* has 1"):
        SquaredSums(weight=1.0, sums=[[0, 4]])([torch.ones(3)])
