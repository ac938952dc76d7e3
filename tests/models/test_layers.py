"""Shared blocks: time folding, norms, residuals and their identities, held dropout, votes."""

from functools import partial

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from snnexp.models.base import SpecError
from snnexp.models.layers import (
    ConvSpike,
    HeldDropout,
    MaxPool,
    Norm,
    ResidualBlock,
    check_steps,
    fast_layout,
    fast_weights,
    over_time,
    vote,
)
from snnexp.neurons.if_ import IF
from snnexp.surrogates import ATan
from tests.models.building import frames, images

NEURON = partial(
    IF,
    v_th=1.0,
    v_reset=0.0,
    reset="hard",
    detach_reset=True,
    surrogate=ATan(alpha=2.0),
    backend="reference",
)
SEW = ["sew_add", "sew_and", "sew_iand"]


def spikes(*shape, rate=0.4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g) < rate).float()


def test_over_time_is_a_loop_over_steps_without_a_copy():
    conv = nn.Conv2d(3, 4, 3, padding=1)
    x = fast_layout(torch.randn(5, 2, 3, 6, 7))
    seen = []
    conv.register_forward_pre_hook(lambda m, args: seen.append(args[0].data_ptr()))
    y = over_time(conv, x)
    assert seen == [x.data_ptr()]
    torch.testing.assert_close(y, torch.stack([conv(step) for step in x]))


def test_weights_lie_as_the_input_does_on_each_device():
    layer = ConvSpike(4, 8, 3, neuron=NEURON)
    values = layer.conv.weight.detach().clone()
    fast_weights(layer, torch.device("cuda"))
    assert layer.conv.weight.is_contiguous()
    fast_weights(layer, torch.device("cpu"))
    assert layer.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer.conv.weight, values)
    layer(spikes(2, 3, 4, 6, 6)).sum().backward()
    assert layer.conv.weight.grad.is_contiguous(memory_format=torch.channels_last)


def test_a_max_pool_is_torchs():
    x = spikes(3, 2, 5, 7)
    for given in ((2,), (3, 2, 1)):
        torch.testing.assert_close(MaxPool(*given)(x), nn.MaxPool2d(*given)(x))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_layers_keep_channels_last_on_a_cpu(channels):
    # as a loader gives it: batch first in memory
    x = torch.randn(2, 4, channels, 6, 6).transpose(0, 1)
    y = ConvSpike(channels, 8, 3, neuron=NEURON)(x)
    assert y.permute(0, 1, 3, 4, 2).is_contiguous()
    assert fast_layout(y).data_ptr() == y.data_ptr()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_spikes_of_a_static_input_have_channels_last_too(backend):
    y = ConvSpike(3, 8, 3, neuron=partial(NEURON, backend=backend))(torch.randn(1, 2, 3, 6, 6), 4)
    assert y.shape == (4, 2, 8, 6, 6)
    assert fast_layout(y).data_ptr() == y.data_ptr()


def test_norm_over_steps_is_batch_norm_called_once_a_step():
    x = torch.randn(4, 3, 5, 6, 6, requires_grad=True)
    ours, theirs = Norm(5, "step"), nn.BatchNorm2d(5)
    y = ours(x)
    expected = torch.stack([theirs(step) for step in x])
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours.batch_norm.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.batch_norm.running_var, theirs.running_var)
    assert ours.batch_norm.num_batches_tracked == 4
    w = torch.randn_like(y)
    got, want = (torch.autograd.grad((o * w).sum(), x)[0] for o in (y, expected))
    torch.testing.assert_close(got, want)


def test_norm_over_the_sequence_folds_time_into_the_batch():
    x = torch.randn(4, 3, 5, 6, 6)
    y = Norm(5, "sequence")(x)
    torch.testing.assert_close(y.mean((0, 1, 3, 4)), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(y, nn.BatchNorm2d(5)(x.flatten(0, 1)).unflatten(0, (4, 3)))


def test_both_norms_evaluate_alike():
    x = torch.randn(4, 3, 5, 6, 6)
    step, sequence = Norm(5, "step"), Norm(5, "sequence")
    step(x)
    sequence.load_state_dict(step.state_dict())
    torch.testing.assert_close(step.eval()(x), sequence.eval()(x))


def test_norms_can_be_synchronised_over_processes():
    layer = ConvSpike(3, 4, 3, neuron=NEURON)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(layer)
    assert isinstance(synced.norm, Norm)
    x = torch.randn(3, 4, 3, 6, 6)
    torch.testing.assert_close(synced.eval()(x), layer.eval()(x))


@pytest.mark.parametrize("neuron", [NEURON, None])
def test_static_input_is_convolved_once(neuron):
    layer = ConvSpike(3, 4, 3, neuron=neuron)
    calls = []
    layer.conv.register_forward_hook(lambda m, args, out: calls.append(len(args[0])))
    layer.eval()
    x = torch.randn(1, 2, 3, 6, 6)
    y = layer(x, steps=5)
    assert calls == [2]
    torch.testing.assert_close(y, layer(x.expand(5, -1, -1, -1, -1)))


def test_static_input_under_autocast():
    torch.manual_seed(0)
    layer, x = ConvSpike(3, 4, 3, neuron=partial(NEURON, backend="cpu")), torch.randn(1, 2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, steps=5)
        drive = layer.norm(fast_layout(over_time(layer.conv, x)))
    assert drive.dtype == y.dtype == torch.bfloat16
    expected = NEURON(4)(drive.repeat_interleave(5, 0)).spikes
    assert expected.any()
    assert torch.equal(y, expected)
    got, want = (torch.autograd.grad(s.square().sum(), layer.conv.weight)[0] for s in (y, expected))
    torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2 * float(want.abs().max()))


def connected(residual, a, x):
    return {"sew_add": a + x, "sew_and": a * x, "sew_iand": (1 - a) * x, "plain": a}[residual]


@pytest.mark.parametrize("residual", [*SEW, "plain"])
def test_blocks_connect_branch_and_shortcut(residual):
    block = ResidualBlock(
        [(4, 4, 3, 1), (4, 4, 3, 1)], residual=residual, neuron=NEURON, zero_init=False
    )
    x = spikes(3, 2, 4, 6, 6)
    a = block.branch[1](block.branch[0](x))
    assert 0 < a.mean() < 1
    torch.testing.assert_close(block(x), connected(residual, a, x))
    assert block.shortcut is None


def test_the_spiking_block_fires_after_the_sum():
    block = ResidualBlock(
        [(4, 4, 3, 1), (4, 4, 3, 1)], residual="spiking", neuron=NEURON, zero_init=False
    )
    x = spikes(3, 2, 4, 6, 6)
    drive = block.branch[1](block.branch[0](x))
    assert block.branch[1].neuron is None
    torch.testing.assert_close(block(x), NEURON(4)(drive + x).spikes)


@pytest.mark.parametrize("residual", [*SEW, "spiking"])
def test_zero_init_makes_a_block_of_if_neurons_the_identity(residual):
    block = ResidualBlock(
        [(4, 6, 1, 1), (6, 6, 3, 1), (6, 4, 1, 1)],
        residual=residual,
        neuron=NEURON,
        zero_init=True,
    )
    x = spikes(5, 2, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_a_shortcut_that_changes_shape_has_neurons_only_in_sew_blocks():
    changing = [(4, 8, 3, 2), (8, 8, 3, 1)]
    sew = ResidualBlock(changing, residual="sew_add", neuron=NEURON, zero_init=False)
    assert sew.shortcut.neuron is not None
    assert sew.shortcut.conv.stride == (2, 2)
    out = sew(spikes(3, 2, 4, 7, 7))
    assert out.shape == (3, 2, 8, 4, 4)
    assert set(out.unique().tolist()) <= {0.0, 1.0, 2.0}
    spiking = ResidualBlock(changing, residual="spiking", neuron=NEURON, zero_init=False)
    assert spiking.shortcut.neuron is None
    wider = ResidualBlock([(4, 8, 1, 1)], residual="sew_add", neuron=NEURON, zero_init=False)
    assert wider.shortcut.conv.stride == (1, 1)


def test_dropout_holds_its_mask_over_time_and_redraws_it():
    torch.manual_seed(0)
    dropout, x = HeldDropout(0.5), torch.ones(6, 3, 400)
    y = dropout(x)
    assert torch.equal(y, y[:1].expand_as(y))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(y[0, 0], y[0, 1])
    assert abs((y[0] == 0).float().mean() - 0.5) < 0.05
    assert not torch.equal(dropout(x), y)
    assert dropout.eval()(x) is x


def test_vote_is_the_average_pool_of_the_papers():
    s = spikes(4, 3, 60)
    torch.testing.assert_close(vote(s, 6), F.avg_pool1d(s, 10, 10))


def test_steps_are_for_static_input_only():
    check_steps(images(1, 8, 8), 4)
    check_steps(frames(7, 8, 8), None)
    with pytest.raises(SpecError, match=r"model\.n_steps=4.*own 7 steps"):
        check_steps(frames(7, 8, 8), 4)
    for steps in (None, 0):
        with pytest.raises(SpecError, match=r"model\.n_steps"):
            check_steps(images(1, 8, 8), steps)
