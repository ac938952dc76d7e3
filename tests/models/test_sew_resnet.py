"""SEW ResNet and Spiking ResNet: parameter counts, shortcuts, identities, encoding."""

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
    events,
    frames,
    images,
)

IMAGENET = images(3, 224, 224, classes=1000)
SMALL = images(3, 32, 32, classes=5)
COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("family", ["sew_resnet", "spiking_resnet"])
@pytest.mark.parametrize("depth", COUNTS)
def test_parameters_are_those_of_torchvisions_resnets(family, depth):
    assert count(f"{family}{depth}", IMAGENET) == COUNTS[depth]


@pytest.mark.parametrize(("depth", "shortcuts"), [(18, 3), (34, 3), (50, 4)])
def test_shortcuts(depth, shortcuts):
    with torch.device("meta"):
        sew = build(f"sew_resnet{depth}", IMAGENET)
        spiking = build(f"spiking_resnet{depth}", IMAGENET)
    for model, has_neuron in ((sew, True), (spiking, False)):
        found = [b.shortcut for b in model.blocks if b.shortcut is not None]
        assert len(found) == shortcuts
        assert all((s.neuron is not None) == has_neuron for s in found)
    if depth == 50:
        # the stride sits on the 3x3 convolution
        assert [c.conv.stride[0] for c in sew.blocks[3].branch] == [1, 2, 1]


def test_zero_init_is_the_baselines_only():
    weights = {}
    for name in ("sew_resnet18", "spiking_resnet18"):
        weights[name] = build(name, SMALL).blocks[0].last.norm.batch_norm.weight
    assert weights["sew_resnet18"].min() == 1
    assert weights["spiking_resnet18"].max() == 0


@pytest.mark.parametrize("residual", ["sew_add", "sew_and", "sew_iand"])
def test_zero_init_lets_spikes_through_unchanged(residual):
    model = build(
        "sew_resnet18", SMALL, f"model.residual={residual}", "model.zero_init_residual=true"
    )
    x = (events(4, 2, 64, 8, 8) > 0).float()
    for block in model.blocks[:2]:
        assert torch.equal(block(x), x)


def test_the_image_passes_the_stem_once():
    model = build("sew_resnet18", SMALL)
    rows = []
    model.stem.conv.register_forward_hook(lambda m, a, o: rows.append(len(a[0])))
    model.blocks[0].branch[0].conv.register_forward_hook(lambda m, a, o: rows.append(len(a[0])))
    model(torch.randn(3, 3, 32, 32))
    assert rows == [3, 4 * 3]


@pytest.mark.parametrize(("steps", "batch"), [(1, 2), (3, 1)])
def test_static_shapes(steps, batch):
    model = build("sew_resnet18", SMALL, f"model.n_steps={steps}").eval()
    out = model(torch.randn(batch, 3, 40, 32))
    assert out.prediction.shape == (batch, 5)
    assert out.trace.shape == (steps, batch, 5)
    torch.testing.assert_close(out.trace.mean(0), out.prediction)


def test_sequences_of_any_length():
    model = build("sew_resnet18", frames(4, 32, 32), "model.n_steps=null").eval()
    for steps in (1, 5):
        assert model(events(steps, 2, 2, 32, 32)).prediction.shape == (2, 10)


@pytest.mark.parametrize(
    "model", ["sew_resnet18", "sew_resnet50", "spiking_resnet18 model.zero_init_residual=false"]
)
def test_gradients(model):
    check_gradients(build(*model.split()[:1], SMALL, *model.split()[1:]), torch.randn(2, 3, 32, 32))


def test_state():
    model = build("sew_resnet18", SMALL)
    x = torch.randn(3, 3, 32, 32)
    check_no_state(model, x, torch.randn(1, 3, 48, 48))
    check_samples_independent(model, x, batch_dim=0)


def test_what_it_cannot_serve():
    with pytest.raises(SpecError, match=r"model\.n_steps=null"):
        build("sew_resnet18", frames(3, 32, 32))
    flat = frames(3, 32, 32)
    with pytest.raises(SpecError, match="steps of shape"):
        build("sew_resnet18", type(flat)(**{**flat.__dict__, "step_shape": (3, 40)}))


def test_compiles():
    check_compiles(build("sew_resnet18", SMALL), torch.randn(2, 3, 32, 32))
