"""StereoSpike, its last version and its analogue twins: counts, sizes, readout, heads."""

import pytest
import torch

from snnexp.models.base import SpecError
from snnexp.neurons.base import Neuron
from tests.models.building import (
    build,
    check_compiles,
    check_gradients,
    check_no_state,
    check_samples_independent,
    count,
    depth,
    events,
    frames,
)

FULL = (260, 346)
IF = ("neuron@model.neuron=if", "~model.neuron.tau")
TINY = depth(4, 20, 27)
TWINS = ["stereospike_ann_sigmoid", "stereospike_ann_tanh", "stereospike_ann_leaky_relu"]


@pytest.mark.parametrize(
    ("model", "channels", "synapses"),
    [
        ("stereospike", 4, 18_148_708),
        ("stereospike", 2, 18_147_108),
        ("stereospike_v3", 4, 1_592_456),
    ],
)
def test_parameters_of_the_paper(model, channels, synapses):
    assert count(model, depth(channels, *FULL)) == synapses + 13
    assert count(model, depth(channels, *FULL), *IF) == synapses


def test_sizes_at_the_sensors_resolution():
    with torch.device("meta"):
        model = build("stereospike", depth(4, *FULL))
        sizes = {}
        for name, module in model.named_modules():
            if isinstance(module, Neuron):
                module.register_forward_hook(
                    lambda m, a, o, name=name: sizes.update({name: tuple(o.spikes.shape[2:])})
                )
        prediction = model.eval()(torch.zeros(1, 4, *FULL)).prediction
    levels = [(260, 346), (130, 173), (65, 87), (33, 44), (17, 22)]
    widths = [32, 64, 128, 256, 512]
    down = [(c, *size) for c, size in zip(widths, levels, strict=True)]
    assert list(sizes.values()) == [*down, *[down[-1]] * 4, *down[-2::-1]]
    assert [tuple(p.shape) for p in prediction] == [(1, 1, *FULL)] * 4


@pytest.mark.parametrize("model", ["stereospike", "stereospike_v3"])
@pytest.mark.parametrize("steps", [None, 1])
def test_shapes(model, steps):
    net = build(model, depth(4, 20, 27, steps)).eval()
    for batch in (1, 3):
        x = events(batch, 4, 20, 27)
        prediction = net(x if steps is None else x[None]).prediction
        assert [tuple(p.shape) for p in prediction] == [(batch, 1, 20, 27)] * 4


def test_depth_is_what_the_heads_add_up():
    model = build("stereospike", TINY).eval()
    sent = []
    for head in model.heads.values():
        head.register_forward_hook(lambda m, a, o: sent.append(o))
    prediction = model(events(2, 4, 20, 27)).prediction
    torch.testing.assert_close(torch.stack(prediction), torch.stack(sent).cumsum(0))


@pytest.mark.parametrize("model", ["stereospike", "stereospike_v3"])
def test_heads_at_the_coarse_level_compute_the_same(model):
    net = build(model, TINY).double()
    for level, head in net.heads.items():
        channels = head.conv.depthwise or head.conv.mix
        x = torch.randn(2, channels.in_channels, 5, 7, dtype=torch.float64, requires_grad=True)
        results = []
        for training in (True, False):
            out = head.train(training)(x, (20, 27))
            weight = torch.linspace(-1, 1, out.numel()).view_as(out)
            gradients = torch.autograd.grad((out * weight).sum(), [x, *head.parameters()])
            results.append([out, *gradients])
        for ours, plain in zip(*results, strict=True):
            torch.testing.assert_close(ours, plain, msg=f"head {level}")


@pytest.mark.parametrize("model", ["stereospike", "stereospike_v3", "stereospike_ann_tanh"])
def test_decoders_at_the_coarse_level_compute_the_same(model):
    net = build(model, TINY).double()
    for unit in net.decoder:
        channels = unit.conv.depthwise or unit.conv.mix
        x = torch.randn(2, channels.in_channels, 5, 7, dtype=torch.float64, requires_grad=True)
        results = []
        for training in (True, False):
            out = unit.conv.train(training)(x, (9, 14))
            weight = torch.linspace(-1, 1, out.numel()).view_as(out)
            results.append([out, *torch.autograd.grad((out * weight).sum(), [x, unit.conv.weight])])
        for ours, plain in zip(*results, strict=True):
            torch.testing.assert_close(ours, plain)


def test_low_precision_sums_of_a_decoder_are_rounded_once():
    conv = build("stereospike", TINY).decoder[0].conv.train()
    x = torch.randn(1, conv.mix.in_channels, 5, 7)
    with torch.autocast("cpu", torch.bfloat16):
        low = [conv.train(training)(x, (9, 14)) for training in (True, False)]
    assert torch.equal(*low)


@pytest.mark.parametrize("model", ["stereospike", "stereospike_v3", *TWINS])
def test_gradients(model):
    check_gradients(build(model, TINY), events(2, 4, 20, 27))


@pytest.mark.parametrize("heads", ["[3,2,1]", "[1,2]", "[1]"])
def test_fewer_heads(heads):
    model = build("stereospike", TINY, f"model.heads={heads}")
    x = events(1, 4, 20, 27)
    assert len(model(x).prediction) == len(model.heads)
    check_gradients(model, x)


def test_without_skips_the_encoder_is_seen_through_the_bottleneck_only():
    model = build("stereospike", TINY, "model.skips=false")
    kept = {}
    model.decoder[0].register_forward_hook(lambda m, a, o: kept.update(out=o))
    model.heads["4"].register_forward_pre_hook(lambda m, a: kept.update(seen=a[0]))
    x = events(1, 4, 20, 27)
    model(x)
    assert torch.equal(kept["seen"], kept["out"])
    check_gradients(model, x)


def test_bottleneck_values_are_counts_up_to_three():
    model = build("stereospike", TINY)
    kept = []
    model.decoder[0].conv.register_forward_pre_hook(lambda m, a: kept.append(a[0]))
    model(events(2, 4, 20, 27))
    assert set(kept[0].unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("model", ["stereospike", "stereospike_ann_tanh"])
def test_state(model):
    net = build(model, TINY)
    x = events(3, 4, 20, 27)
    check_no_state(net, x, events(1, 4, 17, 16))
    check_samples_independent(net, x, batch_dim=0)


def test_the_twin_has_no_neurons_and_biases_outside_the_decoder():
    model = build("stereospike_ann_sigmoid", TINY)
    assert not any(isinstance(m, Neuron) for m in model.modules())
    assert all(u.conv.mix.bias is not None for u in [model.bottom, *model.encoder])
    assert all(u.conv.mix.bias is None for u in model.decoder)
    order = [type(m).__name__ for m in model.bottom.children()]
    assert order == ["Conv", "Sigmoid", "BatchNorm2d"]


def test_low_precision_depth_is_summed_in_float32():
    model = build("stereospike", TINY)
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            prediction = model.train(training)(events(1, 4, 20, 27)).prediction
        assert all(p.dtype == torch.float32 for p in prediction)


def test_what_it_cannot_serve():
    with pytest.raises(SpecError, match="dense depth from one step"):
        build("stereospike", frames(5, 32, 32))
    with pytest.raises(SpecError, match="dense depth from one step"):
        build("stereospike", depth(4, 20, 27, steps=3))


@pytest.mark.parametrize("heads", ["[4,3,2]", "[1,1]", "[5,1]"])
def test_heads_are_levels(heads):
    with pytest.raises(ValueError, match=r"model\.heads"):
        build("stereospike", TINY, f"model.heads={heads}")


def test_widths_are_the_channels_of_the_five_levels():
    model = build("stereospike", TINY, "model.widths=[2,3,4,5,6]")
    assert [u.conv.mix.out_channels for u in (model.bottom, *model.encoder)] == [2, 3, 4, 5, 6]
    assert [u.conv.mix.out_channels for u in model.decoder] == [5, 4, 3, 2]
    check_gradients(model, events(2, 4, 20, 27))


@pytest.mark.parametrize("widths", ["[8,16,32,64]", "[8,16,32,64,0]"])
def test_widths_are_five_and_positive(widths):
    with pytest.raises(ValueError, match=r"model\.widths"):
        build("stereospike", TINY, f"model.widths={widths}")


def test_kernels_are_odd():
    with pytest.raises(ValueError, match=r"model\.kernel=4"):
        build("stereospike", TINY, "model.kernel=4")


def test_compiles():
    check_compiles(build("stereospike", TINY), events(1, 4, 20, 27))
