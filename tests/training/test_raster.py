"""The file behind a run's raster figure: over time, or maps where there is a single step."""

import numpy as np
import torch
import torch.nn as nn

from snnexp.data.base import TaskSpec
from snnexp.metrics.activity import Tape
from snnexp.models.base import Model
from snnexp.training.raster import record_raster
from tests.models.building import build, depth, events, frames


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
