"""7B-Net and Wide-7B-Net: parameter counts, the five kinds of block, sizes."""

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

GESTURE = frames(16, 128, 128, classes=11)
KINDS = ["sew_add", "sew_and", "sew_iand", "spiking", "plain"]
SMALL = ("model.stages=[[6,1],[8,2]]",)


@pytest.mark.parametrize("residual", KINDS)
def test_parameters_of_7b_net(residual):
    kind = f"model.residual={residual}"
    assert count("seven_b_net", GESTURE, kind) == 130_426
    assert count("seven_b_net", GESTURE, kind, "model.channel_kernel=3") == 130_938


def test_parameters_of_wide_7b_net():
    spec = frames(16, 128, 128)
    assert count("seven_b_net_wide", spec) == 1_192_202 + 16
    assert count("seven_b_net_wide", spec, "model.channel_kernel=3") == 1_258_762 + 16


@pytest.mark.parametrize("residual", KINDS)
def test_gradients(residual):
    model = build("seven_b_net", frames(4, 9, 10), *SMALL, f"model.residual={residual}")
    check_gradients(model, events(4, 6, 2, 9, 10, rate=1.0))


def test_shapes():
    model = build("seven_b_net", GESTURE).eval()
    for steps, batch in ((1, 1), (3, 2)):
        out = model(events(steps, batch, 2, 128, 128))
        assert out.prediction.shape == (batch, 11)
        torch.testing.assert_close(out.trace.mean(0), out.prediction)


def test_what_is_left_of_a_larger_frame_goes_to_the_linear_layer():
    model = build("seven_b_net", frames(2, 35, 40), *SMALL)
    assert model.head.in_features == 8 * 4 * 5
    assert model(events(2, 3, 2, 35, 40)).prediction.shape == (3, 10)


def test_state():
    model = build("seven_b_net", frames(4, 16, 16), *SMALL)
    x = events(4, 3, 2, 16, 16)
    check_no_state(model, x, events(2, 1, 2, 16, 16))
    check_samples_independent(model, x, batch_dim=1)


def test_what_it_cannot_serve():
    with pytest.raises(SpecError, match=r"128x128.*\(model\.stages\)"):
        build("seven_b_net", frames(4, 64, 128))
    with pytest.raises(SpecError, match="sequences of frames"):
        build("seven_b_net", images(3, 128, 128))


def test_compiles():
    model = build("seven_b_net", frames(3, 16, 16), *SMALL)
    check_compiles(model, events(3, 2, 2, 16, 16))
