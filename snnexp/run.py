"""One run, on one page: seed, task, model, module, callbacks, trainer, fit, test, record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, ProgressBar
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from snnexp import outcome
from snnexp.config.validate import ConfigError
from snnexp.data.base import TaskDataModule
from snnexp.report.environment import environment
from snnexp.report.folder import LAST_CHECKPOINT, RunFolder
from snnexp.report.record import Data, Result, recording
from snnexp.report.show import show
from snnexp.training.callbacks import EpochSeed, History, RunCheckpoint
from snnexp.training.checkpoint import CheckpointError, read_checkpoint, save_task
from snnexp.training.loggers import closing
from snnexp.training.module import SNNModule

log = logging.getLogger("snnexp")

#: the figure that chooses an epoch, for each kind of task, and whether more of it is better
MONITOR: dict[str, tuple[str, Literal["min", "max"]]] = {
    "classification": ("acc", "max"),
    "depth": ("mde_cm", "min"),
}


#: makes a callback of a split's figure (`val/acc`) and whether more of it is better
Watch = Callable[[str, Literal["min", "max"]], Callback]


def run(cfg: DictConfig) -> float:
    """Make the run that a validated configuration describes; return its selected test figure.

    Everything about it is in `<output_dir>/runs/<name>/seed<k>/<time>-<hash>/result.json`, also
    when it fails or is interrupted.
    """
    result, folder = execute(cfg)
    show(result, Console(highlight=False), folder)
    return result.metrics.selected[f"test/{result.metrics.monitor.partition('/')[2]}"]


def execute(
    cfg: DictConfig, watch: Watch | None = None, command: Sequence[str] | None = None
) -> tuple[Result, Path]:
    """Make a run without printing it; return its record and folder.

    `watch` makes one more callback. `command` repeats the run, if this process's own does not.
    """
    config = cast(dict[str, Any], OmegaConf.to_container(cfg))
    folder, checkpoint = open_folder(cfg, config)
    result = outcome.begin(cfg, config, folder)
    if command is not None:
        result.command = list(command)
    with folder, recording(result, folder.path), ExitStack() as stack:
        OmegaConf.save(cfg, folder.path / "config.yaml")
        L.seed_everything(cfg.seed, workers=True, verbose=False)
        # filling every fresh tensor would cost five times the step, and finds bugs, not numbers
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        task: TaskDataModule = build(cfg.task)
        task.prepare_data()
        task.setup("fit")
        save_task(task, folder.path)
        result.data = Data(**vars(task.report()))
        torch.manual_seed(cfg.seed)  # weights must not depend on what the data drew
        module = make_module(cfg, task)
        figure, mode = MONITOR[task.spec.kind]
        result.metrics.monitor = f"{cfg.select_on}/{figure}"
        history = History(folder.path / "metrics.csv")
        keeper = RunCheckpoint(folder.path / LAST_CHECKPOINT.parent, f"val/{figure}", mode)
        watching = [watch(f"val/{figure}", mode)] if watch else []
        trainer = make_trainer(cfg, folder.path, [history, keeper, *watching])
        stack.enter_context(closing(trainer.loggers, config))
        device = trainer.strategy.root_device
        providers = " + ".join(sorted(module.model.providers(device))) or "none"
        log.info("%s: backend %s on %s, in %s", cfg.name, providers, device, folder.path)
        result.environment = environment(
            device, backend=providers, precision=trainer.precision, world_size=trainer.world_size
        )
        on_test = cfg.select_on == "test"
        choosing = task.test_dataloader() if on_test else task.val_dataloader()
        trainer.fit(
            module, task.train_dataloader(), choosing, ckpt_path=checkpoint, weights_only=True
        )
        result.metrics.last = outcome.test(trainer, module, task, None)
        result.metrics.selected = outcome.test(trainer, module, task, keeper.folder / "best.ckpt")
        result.metrics.selected_epoch = keeper.best_epoch
        if on_test:
            result.metrics.max_over_epochs = {f"test/{figure}": cast(float, keeper.best)}
        outcome.fill(result, module, task, history, device)
        result.figures = outcome.draw(result, module, task, trainer, folder.path)
    return result, folder.path


def open_folder(cfg: DictConfig, config: dict[str, Any]) -> tuple[RunFolder, Path | None]:
    """Return the run's folder and the checkpoint to start from, as `resume` says."""
    root = Path(cfg.output_dir, "runs")
    if cfg.resume == "auto":
        cut = RunFolder.resume(root, cfg.name, cfg.seed, config)
        if cut is not None:
            log.info("resume=auto: going on with %s", cut.path)
            try:
                read_checkpoint(cut.last_checkpoint)
            except CheckpointError:
                cut.release()
                raise
            return cut, cut.last_checkpoint
        log.info("resume=auto: no unfinished run of this configuration below %s", root)
    named = Path(cfg.resume) if cfg.resume not in (None, "auto") else None
    if named is not None:
        read_checkpoint(named)
    return RunFolder.create(root, cfg.name, cfg.seed, config), named


def build(node: DictConfig, *args: Any, **kwargs: Any) -> Any:
    """Build what a node describes; what its constructor refuses is a ConfigError."""
    try:
        return instantiate(node, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if type(cause) is ValueError:
            raise ConfigError([f"{node['_target_']}: {cause}"]) from cause
        raise (cause or error) from None


def make_module(cfg: DictConfig, task: TaskDataModule) -> SNNModule:
    """Build the model for the task's spec and the module that trains it."""
    return SNNModule(
        task.spec,
        build(cfg.model, task.spec),
        build(cfg.loss),
        build(cfg.rule),
        build(cfg.optimizer),
        build(cfg.scheduler),
    )


def make_trainer(cfg: DictConfig, folder: Path, more: list[Any]) -> L.Trainer:
    """Build Lightning's trainer with the run's callbacks and loggers."""
    callbacks = [build(c) for c in cfg.callbacks.values()]
    loggers = [build(x, folder, cfg.name) for x in cfg.logger.values()]
    trainer: L.Trainer = build(
        cfg.trainer,
        callbacks=[EpochSeed(cfg.seed), *more, *callbacks],
        logger=loggers or False,
        default_root_dir=str(folder),
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
        deterministic="warn" if cfg.deterministic else False,
    )
    return trainer
