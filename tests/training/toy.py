"""A task small enough for tests: which of four places of a step sequence is lit, with noise."""

import lightning as L
import numpy as np
import torch

from snnexp.data.base import ArrayDataset, FileInput, TaskDataModule, TaskReport, TaskSpec
from snnexp.losses import CrossEntropy, SquaredSpikes
from snnexp.models.conv_snn import ConvSNN
from snnexp.training import schedules
from snnexp.training.module import SNNModule
from snnexp.training.rules import BPTT
from tests.models.test_conv_snn import S2

SIZES = {"train": 48, "val": 20, "test": 23}


class ToyTask(TaskDataModule):
    """Items [12, 2, 8]; the class is the quarter of the feature axis that is strong.

    As a file: a .npy of one item or several. `state` is what its inputs are divided by.
    """

    suffixes = (".npy",)
    scale = 1.0

    def __init__(self, *, data, data_dir, cache_dir, batch_size, num_workers, noise):
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        self.noise = noise

    def setup(self, stage=None):
        generator = torch.Generator().manual_seed(1)
        for split, size in SIZES.items():
            y = torch.arange(size) % 4
            x = self.noise * torch.rand(size, 12, 2, 8, generator=generator)
            for i, k in enumerate(y):
                x[i, :, :, 2 * k : 2 * k + 2] += 1
            self.datasets[split] = ArrayDataset(x, y)
        self._spec = TaskSpec(
            name="toy",
            kind="classification",
            step_shape=(2, 8),
            n_steps=12,
            dt=0.01,
            classes=("a", "b", "c", "d"),
        )

    def report(self):
        return TaskReport(
            variant=self.data, source="noise with one strong quarter", sizes=dict(SIZES)
        )

    def baselines(self):
        return {"chance": 0.25}

    def state(self):
        return {"scale": self.scale}

    def restore(self, spec, state):
        super().restore(spec, state)
        self.scale = state["scale"]

    def inputs_of(self, path, part):
        items = torch.from_numpy(np.load(path)).float().view(-1, 12, 2, 8) / self.scale
        return [FileInput(f"item {i}", x) for i, x in enumerate(items)]


def toy_task(**changes):
    options = {
        "data": "sample",
        "data_dir": "",
        "cache_dir": "",
        "batch_size": 8,
        "num_workers": 0,
        "noise": 0.3,
    }
    task = ToyTask(**{**options, **changes})
    task.setup()
    return task


def toy_module(task, seed=0, schedule=schedules.exponential, **options):
    L.seed_everything(seed, verbose=False)
    model = ConvSNN(
        task.spec,
        neuron=S2,
        channels=[6, 6],
        kernels=[(3, 3), (3, 3)],
        dilations=[(1, 1), (2, 1)],
        weight_std=0.15,
        readout="mean",
        readout_decay=0.7,
    )
    return SNNModule(
        task.spec,
        model,
        CrossEntropy(label_smoothing=0.0, activity=SquaredSpikes(weight=0.1, by_depth=True)),
        BPTT(weight_decay_on="weights"),
        lambda params: torch.optim.RAdam(params, lr=2e-2),
        lambda *a: schedule(*a, **(options or {"gamma": 0.8})),
    )
