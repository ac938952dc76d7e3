"""The file behind a run's raster figure: over time, or maps where there is a single step."""

import numpy as np
import torch
import torch.nn as nn

from snnexp.data.base import TaskSpec
from snnexp.metrics.activity import Tape
from snnexp.models.base import Model
from snnexp.report.figures import raster
from snnexp.training.raster import raster_arrays, record_raster, spikes_kept
from tests.models.building import build, depth, events, frames
from tests.training.toy import toy_module, toy_task


class Module(nn.Module):
    """What `record_raster` needs of the LightningModule."""

    device = torch.device("cpu")

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.spec: TaskSpec = model.spec
        self.model, self.tape = model, Tape(model)

    def forward(self, x):
        return self.model(x.transpose(0, 1))


def record(model, x, tmp_path):
    batch = {"input": x, "target": torch.zeros(len(x), dtype=torch.int64)}
    path = record_raster(Module(model), batch, tmp_path / "raster.npz")
    with np.load(path) as file:
        return dict(file)


def test_a_single_step_is_kept_as_maps(tmp_path):
    model = build("stereospike_small", depth(4, 20, 27, steps=1))
    x = events(2, 1, 4, 20, 27)
    kept = record(model, x, tmp_path)
    np.testing.assert_array_equal(kept["input"], x[0, 0, 0])
    assert bool(kept["static"])
    maps = [v for k, v in kept.items() if k.startswith("spikes_bottom.neuron channel")]
    assert [m.shape for m in maps] == [(20, 27, 1)]
    fired = model.eval().bottom(x[:1, 0])[0]
    busiest = fired.flatten(1).sum(1).argmax()
    np.testing.assert_array_equal(maps[0][..., 0], fired[busiest].detach() > 0)


def test_several_steps_are_kept_over_time(tmp_path):
    model = build("seven_b_net", frames(3, 8, 8), "model.stages=[[4,2]]")
    kept = record(model, events(1, 3, 2, 8, 8), tmp_path)
    assert not bool(kept["static"])
    assert kept["input"].shape == (8 * 8, 3)
    assert all(v.shape[-1] == 3 for k, v in kept.items() if k.startswith("spikes_"))


def test_a_sequence_is_shown_above_its_spikes(tmp_path):
    task = toy_task()
    module = toy_module(task)
    batch = next(iter(task.test_dataloader()))
    path = record_raster(module, batch, tmp_path / "raster.npz")
    with np.load(path) as kept:
        assert np.array_equal(kept["input"], batch["input"][0, :, 0].T.numpy())
        assert not kept["static"]
        assert str(kept["title"]).startswith("a (taken for ")
        assert len([k for k in kept if k.startswith("spikes_")]) == 2
    assert raster(path)
    assert not module.tape, "spikes are freed"
    assert not module.tape.keep_spikes


def test_an_image_is_shown_as_an_image(tmp_path):
    module = toy_module(toy_task())
    with spikes_kept(module), torch.no_grad():
        module(torch.rand(1, 12, 2, 8))
        module.spec = TaskSpec(
            name="image", kind="classification", step_shape=(3, 5, 7), n_steps=None, dt=None
        )
        image = torch.rand(3, 5, 7)
        arrays = raster_arrays(module, image)
    assert arrays["static"]
    np.testing.assert_allclose(arrays["input"], image.mean(0).numpy())
    np.savez(tmp_path / "a.npz", **arrays, title="an image")
    assert raster(tmp_path / "a.npz")
