"""The PLIF paper's six networks: parameter counts, encoding, dropout, votes."""

import pytest
import torch

from snnexp.models.base import SpecError
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
    images,
)

SMALL = ("model.channels=8", "model.hidden=24", "model.votes=3")


@pytest.mark.parametrize(
    ("model", "spec", "synapses", "time_constants"),
    [
        ("plif_net_mnist", images(1, 28, 28), 13_198_976, 4),
        ("plif_net_cifar10", images(3, 32, 32), 36_718_336, 8),
        ("plif_net_nmnist", frames(10, 34, 34), 17_132_288, 4),
        ("plif_net_cifar10dvs", frames(20, 128, 128), 17_427_712, 6),
        ("plif_net_dvsgesture", frames(20, 128, 128, classes=11), 1_698_304, 7),
    ],
)
def test_parameters_of_the_paper(model, spec, synapses, time_constants):
    assert count(model, spec) == synapses + time_constants


def test_layers_of_the_cifar10_network():
    with torch.device("meta"):
        model = build("plif_net_cifar10", images(3, 32, 32))
    kinds = [type(layer).__name__ for layer in model.features]
    assert kinds == (["ConvSpike"] * 3 + ["MaxPool"]) * 2
    assert [d.p for d in model.dropouts] == [0.5, 0.0]
    assert [tuple(li.weight.shape) for li in model.linears] == [(2048, 16384), (100, 2048)]


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 2), (7, 3)])
def test_static_shapes(steps, batch):
    model = build("plif_net", images(1, 12, 14, classes=4), *SMALL, f"model.n_steps={steps}")
    out = model.eval()(torch.randn(batch, 1, 12, 14))
    assert out.prediction.shape == (batch, 4)
    assert out.trace.shape == (steps, batch, 4)
    torch.testing.assert_close(out.trace.mean(0), out.prediction)
    assert 0 <= out.prediction.min() <= out.prediction.max() <= 1
    assert model.train()(torch.randn(batch, 1, 12, 14)).trace is None


def test_sequences_of_any_length():
    model = build("plif_net_nmnist", frames(5, 10, 10), *SMALL).eval()
    for steps, batch in ((1, 1), (5, 2), (9, 3)):
        assert model(events(steps, batch, 2, 10, 10)).prediction.shape == (batch, 10)


@pytest.mark.parametrize("model", ["plif_net", "plif_net_cifar10", "plif_net_small"])
def test_gradients(model):
    overrides = (*SMALL, "model.convs=[2,1]")
    check_gradients(build(model, images(2, 8, 8), *overrides), torch.randn(4, 2, 8, 8))


def test_gradients_of_sequences_and_average_pools():
    model = build(
        "plif_net_nmnist", frames(8, 9, 9), *SMALL, "model.pool=avg", "model.neuron.v_th=0.2"
    )
    check_gradients(model, events(8, 6, 2, 9, 9))


def test_state():
    model = build("plif_net_nmnist", frames(4, 8, 8), *SMALL)
    x = events(4, 3, 2, 8, 8)
    check_no_state(model, x, events(6, 1, 2, 8, 8))
    check_samples_independent(model, x, batch_dim=1)


def test_the_image_is_convolved_once_and_its_dropout_mask_held():
    model = build("plif_net", images(1, 8, 8), *SMALL)
    rows, inputs = [], []
    model.features[0].conv.register_forward_hook(lambda m, a, o: rows.append(len(a[0])))
    model.features[2].conv.register_forward_hook(lambda m, a, o: rows.append(len(a[0])))
    model.dropouts[0].register_forward_hook(lambda m, a, o: inputs.append((a[0], o)))
    model(2 * torch.randn(5, 1, 8, 8))
    assert rows == [5, 8 * 5]
    before, after = inputs[0]
    dropped = ((before > 0) & (after == 0)).any(0)
    # a feature that is dropped at one step is silent at all
    assert dropped.any()
    assert after.sum(0)[dropped].max() == 0


def test_norm_over_steps_of_a_sequence():
    model = build("plif_net_nmnist", frames(4, 8, 8), *SMALL)
    model(events(4, 3, 2, 8, 8))
    assert model.features[0].norm.batch_norm.num_batches_tracked == 4
    still = build("plif_net", images(1, 8, 8), *SMALL)
    still(torch.randn(3, 1, 8, 8))
    # the first norm sees an image once, the second sees eight steps
    assert [still.features[i].norm.batch_norm.num_batches_tracked.item() for i in (0, 2)] == [1, 8]


def test_what_it_cannot_serve():
    with pytest.raises(SpecError, match="classification of images"):
        build("plif_net", depth(4, 32, 32))
    with pytest.raises(SpecError, match=r"32x32 for 5 pools \(model\.convs\)"):
        build("plif_net_dvsgesture", frames(3, 16, 16))
    with pytest.raises(SpecError, match=r"model\.n_steps=null"):
        build("plif_net", frames(3, 16, 16))
    with pytest.raises(SpecError, match=r"model\.n_steps says for how many steps"):
        build("plif_net_nmnist", images(1, 28, 28))


def test_compiles():
    check_compiles(build("plif_net", images(1, 8, 8), *SMALL), torch.randn(3, 1, 8, 8))
