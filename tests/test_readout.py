"""Readouts whose gradients lie in memory as the spikes do."""

import pytest
import torch

from snnexp.readout import NormalisedReadout


@pytest.mark.parametrize("batch_outermost", [False, True])
def test_the_gradient_of_a_mean_lies_as_the_spikes_do(batch_outermost):
    torch.manual_seed(0)
    readout = NormalisedReadout(6, 3, mode="mean", weight_std=1.0, decay=0.7)
    spikes = (torch.rand(5, 4, 6) < 0.4).float()
    if batch_outermost:
        spikes = spikes.transpose(0, 1).contiguous().transpose(0, 1)
    lie = []
    spikes.requires_grad_().register_hook(lambda grad: lie.append(grad.stride()))
    scores, trace = readout(spikes)
    (gradient,) = torch.autograd.grad(scores.square().sum(), spikes)
    assert trace is None
    assert lie == [spikes.stride()]
    # evaluation takes the mean after the product
    same, _ = readout(spikes, trace=True)
    torch.testing.assert_close(scores, same)
    torch.testing.assert_close(gradient, torch.autograd.grad(same.square().sum(), spikes)[0])
