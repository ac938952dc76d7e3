"""The parts of a run, built as its configuration describes them: anything, module, trainer."""

from __future__ import annotations

from typing import Any, Literal

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from omegaconf import DictConfig

from snnexp.config.validate import ConfigError
from snnexp.data.base import TaskDataModule
from snnexp.models.layers import fast_weights
from snnexp.training.callbacks import EpochSeed, TimeLimit
from snnexp.training.crew import check_batch_norm
from snnexp.training.module import SNNModule
from snnexp.training.run_checkpoint import InPlace
from snnexp.training.signals import StopSignals

#: the figure that chooses an epoch, for each kind of task, and whether more of it is better
MONITOR: dict[str, tuple[str, Literal["min", "max"]]] = {
    "classification": ("acc", "max"),
    "depth": ("mde_cm", "min"),
}


def build(node: DictConfig, *args: Any, **kwargs: Any) -> Any:
    """Build what a node describes; what its constructor refuses is a ConfigError."""
    try:
        return instantiate(node, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        # Lightning answers a Slurm job that does not fit the trainer with a RuntimeError
        if type(cause) is ValueError or "SLURM" in str(cause):
            raise ConfigError([f"{node['_target_']}: {cause}"]) from cause
        raise (cause or error) from None


def make_module(cfg: DictConfig, task: TaskDataModule, device: torch.device) -> SNNModule:
    """Build the model for the task's spec and the module that trains it."""
    model = build(cfg.model, task.spec)
    fast_weights(model, device)
    check_batch_norm(model, bool(cfg.trainer.get("sync_batchnorm")), device)
    return SNNModule(
        task.spec,
        model,
        build(cfg.loss),
        build(cfg.rule),
        build(cfg.optimizer),
        build(cfg.scheduler),
    )


def make_trainer(cfg: DictConfig) -> L.Trainer:
    """Build Lightning's trainer with the configured callbacks."""
    callbacks = [build(c) for c in cfg.callbacks.values()]
    callbacks += [TimeLimit(cfg.trainer.max_time)] if cfg.trainer.get("max_time") else []
    trainer: L.Trainer = build(
        cfg.trainer,
        callbacks=[EpochSeed(cfg.seed), StopSignals(), *callbacks],
        max_time=None,  # `TimeLimit` instead
        logger=False,
        default_root_dir=cfg.output_dir,
        # of itself, beside what `callbacks` save
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
        deterministic="warn" if cfg.deterministic else False,
        use_distributed_sampler=False,  # the task's loaders share out themselves
    )
    trainer.strategy.checkpoint_io = InPlace()
    return trainer
