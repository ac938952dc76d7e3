"""A finished run, taken up again: its configuration, its network, its task; prediction.

Letters: B batch, T time, K classes, H W space, n positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

from snnexp.assembly import build
from snnexp.config.trust import BUILT, read_config
from snnexp.config.validate import ConfigError
from snnexp.data.base import DataError, FileInput, Part, TaskDataModule, TaskSpec
from snnexp.metrics.activity import Activity
from snnexp.models.base import Model, SpecError
from snnexp.report.evaluation import CheckpointUsed
from snnexp.report.record import Firing, Operations, Result, read_result
from snnexp.training.checkpoint import (
    BEST,
    LAST,
    CheckpointError,
    read_task,
    restore_weights,
    sha256,
)
from snnexp.training.module import SNNModule
from snnexp.training.raster import raster_arrays, spikes_kept


@dataclass(frozen=True)
class Prediction:
    """What the network made of one input.

    `probabilities`: class name -> probability, the largest first; None for depth, which has
    `depth` [H, W] in metres instead. `raster` is what `snnexp.report.figures.raster` draws;
    `firing` and `operations` are of this one input, None where the network has none.
    """

    name: str
    probabilities: dict[str, float] | None
    depth: NDArray[np.float32] | None
    truth: NDArray[np.float32] | None
    firing: Firing | None
    operations: Operations | None
    raster: dict[str, Any] | None
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        if self.probabilities is None:
            raise ValueError("a depth map has no label; see `depth`")
        return next(iter(self.probabilities))


class LoadedRun:
    """A run's folder with its network ready to use.

    `config` is the resolved configuration, `result` the record, `checkpoint` says which weights
    these are, `module.model` (`model`) is the network in evaluation mode, `spec` what it takes.
    `statistics` says where the constants fitted on the training set are from.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        checkpoint: str = "best",
        data: str | None = None,
        data_dir: str | None = None,
        cache_dir: str | None = None,
        backend: str | None = None,
        device: str | torch.device = "cpu",
        trust: bool = False,
    ) -> None:
        self.folder = Path(run)
        if not self.folder.is_dir():
            raise ConfigError([f"run={run}: no such folder; give the folder of a run"])
        self.config = read_config(self.folder / "config.yaml", trust)
        self.result: Result = read_result(self.folder)
        self.given = {"data": data, "data_dir": data_dir, "cache_dir": cache_dir}
        task = self.config["task"]
        own = {key: task.get(key) for key in self.given}
        self.config["task"] |= {k: v for k, v in self.given.items() if v is not None and k in task}
        self.config |= {k: v for k, v in self.given.items() if v is not None}
        if backend is not None:
            _set_backend(self.config["model"], backend)
            self.config["backend"] = backend
        nodes = OmegaConf.create({key: self.config[key] for key in BUILT})
        self.task: TaskDataModule = build(nodes.task)
        kept = read_task(self.folder)
        self._ready = False
        if kept is None:
            if own["data"] != task["data"]:
                raise DataError(
                    f"{self.folder} kept no task.pt, so the constants of its training set cannot "
                    f"be taken to data={task['data']}; use data={own['data']}, or run it again"
                )
            self._setup()
            kept = self.task.spec, self.task.state()
            self.statistics = "computed again from the training set"
        else:
            self.task.restore(*kept)
            self.statistics = "those of the run (task.pt)"
        self.spec, self._state = kept
        self.module = SNNModule(
            self.spec,
            build(nodes.model, self.spec),
            build(nodes.loss),
            build(nodes.rule),
            _not_trained,
            _not_trained,
        ).to(device)
        self.module.eval()
        path = self._path_of(checkpoint)
        content = restore_weights(self.module, path)
        self.checkpoint = CheckpointUsed(
            path=path.relative_to(self.folder).as_posix()
            if path.is_relative_to(self.folder)
            else str(path),
            sha256=sha256(path),
            epoch=int(content.get("epoch", -1)),
        )

    @property
    def model(self) -> Model:
        """The network."""
        return self.module.model

    def _path_of(self, checkpoint: str) -> Path:
        named = {"best": self.folder / BEST, "last": self.folder / LAST}
        path = named.get(checkpoint, Path(checkpoint))
        if not path.is_file() and checkpoint not in named:
            raise CheckpointError(f"checkpoint={checkpoint}: expected best, last or a file")
        return path

    def _setup(self) -> None:
        if not self._ready:
            self.task.prepare_data()
            self.task.setup("test")
            self._ready = True

    def test_task(self) -> TaskDataModule:
        """Return the task with its data, scaled as the run's were.

        Raises SpecError where they do not fit the network.
        """
        self._setup()
        here = self.task.spec
        if problems := _unlike(here, self.spec):
            raise SpecError(
                f"{self.folder} was trained on other data than data={self.task.data} gives: "
                + "; ".join(problems)
            )
        self.task.restore(self.spec, self._state)
        return self.task

    def predict(self, source: str | Path | Tensor, part: Part | None = None) -> list[Prediction]:
        """Return a prediction for each input of a file, or of a batch [B, T, ...], or of one.

        A tensor is what the task's loaders give: scaled features, not raw samples.
        """
        if not isinstance(source, Tensor):
            return [self.predict_one(i) for i in self.inputs(Path(source), part)]
        steps = () if self.spec.static else (self.spec.n_steps,)
        shape = (*steps, *self.spec.step_shape)
        if tuple(source.shape) == shape:
            source = source[None]
        if tuple(source.shape[1:]) != shape:
            raise SpecError(
                f"an input of {self.spec.name} is {list(shape)}, a batch [B, ...] of them; given "
                f"{list(source.shape)}"
            )
        return [self.predict_one(FileInput(f"input {i}", x)) for i, x in enumerate(source)]

    def inputs(self, path: Path, part: Part | None = None) -> list[FileInput]:
        """Return the network's inputs that a file gives."""
        return self.task.read_input(path, part or Part())

    @torch.no_grad()
    def predict_one(self, given: FileInput) -> Prediction:
        """Run the network on one input, alone, and count what it did."""
        module = self.module
        module.probe.recording = True
        module.synops.reset()
        try:
            with spikes_kept(module):
                output = module(given.input[None].to(module.device))
                raster = raster_arrays(module, given.input)
                activity = Activity(self.spec.dt).to(module.device)
                if module.tape:
                    activity.update(module.tape)
        finally:
            module.probe.recording = False
        module.synops.update(1)
        operations = module.synops.compute()
        module.synops.reset()
        final = output.prediction
        scores = (final if isinstance(final, Tensor) else final[-1])[0].float().cpu()
        firing = Firing(**activity.compute()) if activity.layers else None
        return Prediction(
            name=given.name,
            probabilities=self._sorted(scores) if self.spec.classes else None,
            depth=None if self.spec.classes else scores[0].numpy(),
            truth=None if given.truth is None else given.truth[0].numpy(),
            firing=firing,
            operations=Operations(**operations) if operations["layers"] else None,
            raster=raster,
            notes=given.notes,
        )

    def _sorted(self, scores: Tensor) -> dict[str, float]:
        p = self.module.loss.probabilities(scores[None])[0]
        order = p.argsort(descending=True, stable=True).tolist()
        return {self.spec.classes[k]: float(p[k]) for k in order}


def _unlike(here: TaskSpec, trained: TaskSpec) -> list[str]:
    """Say in what two specs differ that a network depends on."""
    keys: Sequence[str] = ("kind", "step_shape", "n_steps", "classes")
    return [
        f"{key} is {getattr(here, key)}, was {getattr(trained, key)}"
        for key in keys
        if getattr(here, key) != getattr(trained, key)
    ]


def _set_backend(node: Any, backend: str) -> None:
    if isinstance(node, dict):
        if "backend" in node:
            node["backend"] = backend
        for value in node.values():
            _set_backend(value, backend)


def _not_trained(*args: Any) -> Any:
    raise RuntimeError("a loaded run is tested, not trained; go on with python -m snnexp resume=")
