"""What a run found, brought into its record: begin, test, fill, draw."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig

from snnexp.data.base import TaskDataModule
from snnexp.metrics.synops import size_figures
from snnexp.report.environment import code_state, environment, peak_memory
from snnexp.report.folder import RunFolder, config_hash
from snnexp.report.record import (
    Confusion,
    Cost,
    Firing,
    Metrics,
    Operations,
    Paper,
    Result,
    Size,
)
from snnexp.training.callbacks import History
from snnexp.training.checkpoint import restore_weights
from snnexp.training.loggers import log_figures
from snnexp.training.module import SNNModule
from snnexp.training.raster import record_raster

log = logging.getLogger("snnexp")


def begin(cfg: DictConfig, config: dict[str, Any], folder: RunFolder) -> Result:
    """Return the record of a run that has just begun: who, where, with what."""
    seeds = {"seed": cfg.seed}
    if "split_seed" in cfg.task:
        seeds["split_seed"] = cfg.task.split_seed
    return Result(
        id=folder.id,
        name=cfg.name,
        experiment=cfg.name if cfg.paper else None,
        task=cfg.task["_target_"].split(".")[1],
        model=cfg.model["_target_"].split(".")[2],
        seed=cfg.seed,
        seeds=seeds,
        config=config,
        config_hash=config_hash(config),
        setting_hash=config_hash(config, ignore_seed=True),
        code=code_state(),
        environment=environment(
            torch.device("cpu"), backend=cfg.backend, precision="", world_size=1
        ),
        paper=Paper(**config["paper"]) if cfg.paper else None,
        metrics=Metrics(select_on=cfg.select_on, monitor=f"{cfg.select_on}/"),
    )


def test(
    trainer: L.Trainer, module: SNNModule, task: TaskDataModule, checkpoint: Path | None
) -> dict[str, float]:
    """Test the weights at hand, or those of a checkpoint; return every figure."""
    if checkpoint is not None:
        # not through the trainer, which would also set its callbacks back to that epoch
        restore_weights(module, checkpoint)
    trainer.test(module, task.test_dataloader(), verbose=False)
    found = module.tested
    assert found is not None
    losses = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test/")}
    extra = task.extra_metrics("test", found.predictions)
    return losses | found.metrics | {f"test/{k}": float(v) for k, v in extra.items()}


def fill(
    result: Result,
    module: SNNModule,
    task: TaskDataModule,
    history: History,
    device: torch.device,
) -> None:
    """Add what the last test and the whole run showed."""
    found = module.tested
    assert found is not None
    result.size = Size.model_validate(size_figures(module.model))
    if found.activity is not None:
        result.firing = Firing(**found.activity)
    if found.synops["layers"]:
        result.operations = Operations(**found.synops)
    if found.confusion is not None:
        classes = list(task.spec.classes)
        result.confusion = Confusion(split="test", classes=classes, counts=found.confusion)
    if module.trainer.is_global_zero:
        result.baselines = task.baselines()
    seconds = [row["seconds"] for row in history.rows]
    host, gpu = peak_memory(device)
    result.cost = Cost(
        epochs=len(seconds),
        epoch_s=sum(seconds) / len(seconds) if seconds else None,
        peak_memory_bytes=host,
        peak_gpu_memory_bytes=gpu,
    )


def draw(
    result: Result, module: SNNModule, task: TaskDataModule, trainer: L.Trainer, folder: Path
) -> list[str]:
    """Draw the figures of a run; return their paths relative to its folder.

    A figure that cannot be drawn is reported, with its traceback, and spoils nothing else: the
    numbers of a long run are worth more than its pictures. Of several processes only the first
    draws.
    """
    if not trainer.is_global_zero:
        return []
    from snnexp.report import figures  # here: pandas would hold up the first step of every run

    place = folder / "figures"
    place.mkdir(exist_ok=True)
    drawn: list[Path] = []
    assert module.tested is not None
    predictions = module.tested.predictions
    try:
        for name, batch in task.shown(predictions).items():
            file = f"raster_{name}.npz" if name else figures.RASTER
            record_raster(module, batch, folder / file)
        result.write(folder)
        drawn += figures.draw_run(folder, place)
        drawn += task.figures("test", predictions, place)
        log_figures(trainer.loggers, drawn)
    except Exception:
        log.exception("a figure could not be drawn; the record of the run is complete without it")
    return [p.relative_to(folder).as_posix() for p in drawn]
