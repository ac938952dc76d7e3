"""One run, on one page: seed, task, model, module, callbacks, trainer, fit, test, record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from snnexp import outcome
from snnexp.assembly import MONITOR, build, make_module, make_trainer
from snnexp.data.base import TaskDataModule
from snnexp.report.atomic import replacing
from snnexp.report.environment import environment
from snnexp.report.folder import LAST_CHECKPOINT, RunFolder
from snnexp.report.record import Data, Result, recording
from snnexp.report.show import show
from snnexp.training.callbacks import History, TimeLimitError
from snnexp.training.checkpoint import read_checkpoint, save_task
from snnexp.training.crew import Crew, naming_losses
from snnexp.training.loggers import closing
from snnexp.training.run_checkpoint import RunCheckpoint, check_sums

log = logging.getLogger("snnexp")

#: makes a callback of a split's figure (`val/acc`) and whether more of it is better
Watch = Callable[[str, Literal["min", "max"]], Callback]


def run(cfg: DictConfig) -> float:
    """Make the run that a validated configuration describes; return its selected test figure.

    Everything about it is in `<output_dir>/runs/<name>/seed<k>/<time>-<hash>/result.json`, also
    when it fails or is interrupted.
    """
    result, folder = execute(cfg)
    rank_zero_only(show)(result, Console(highlight=False), folder)
    return result.metrics.selected[f"test/{result.metrics.monitor.partition('/')[2]}"]


def execute(
    cfg: DictConfig, watch: Watch | None = None, command: Sequence[str] | None = None
) -> tuple[Result, Path]:
    """Make a run without printing it; return its record and folder.

    `watch` makes one more callback. `command` repeats the run, if this process's own does not.
    """
    config = cast(dict[str, Any], OmegaConf.to_container(cfg))
    trainer = make_trainer(cfg)
    crew = Crew(trainer, sweeping=command is not None)
    folder, checkpoint = crew.tell(crew.agree(lambda: open_folder(cfg, config), crew.first))
    result = outcome.begin(cfg, config, folder)
    if command is not None:
        result.command = list(command)
    with folder, ExitStack() as stack:
        if crew.first:
            stack.enter_context(recording(result, folder.path))
        stack.enter_context(naming_losses())
        L.seed_everything(cfg.seed, workers=True, verbose=False)
        # filling every fresh tensor would cost five times the step, and finds bugs, not numbers
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        task: TaskDataModule = build(cfg.task)
        crew.agree(task.prepare_data, crew.first_here)
        crew.agree(lambda: task.setup("fit"))
        crew.agree(lambda: save_task(task, folder.path), crew.first)
        crew.agree(lambda: task.share(crew.rank, crew.size))
        result.data = Data(**vars(task.report()))
        torch.manual_seed(cfg.seed)  # weights must not depend on what the data drew
        device = trainer.strategy.root_device
        module = crew.agree(lambda: make_module(cfg, task, device))
        figure, mode = MONITOR[task.spec.kind]
        result.metrics.monitor = f"{cfg.select_on}/{figure}"
        history = History(folder.path / "metrics.csv")
        keeper = RunCheckpoint(folder.path / LAST_CHECKPOINT.parent, f"val/{figure}", mode)
        watching = [watch(f"val/{figure}", mode)] if watch else []
        more = [history, keeper, *watching]
        trainer.callbacks += more  # type: ignore[attr-defined] # set by its connector
        trainer.loggers = [build(x, folder.path, cfg.name) for x in cfg.logger.values()]
        stack.enter_context(closing(trainer.loggers, config))
        providers = " + ".join(sorted(module.model.providers(device))) or "none"
        log.info("%s: backend %s on %s, in %s", cfg.name, providers, device, folder.path)
        result.environment = environment(
            device,
            backend=providers,
            precision=trainer.precision,
            world_size=crew.size,
            global_batch=task.batch_size * trainer.accumulate_grad_batches,
        )
        on_test = cfg.select_on == "test"
        choosing = task.test_dataloader() if on_test else task.val_dataloader()
        last = None
        try:
            trainer.fit(
                module, task.train_dataloader(), choosing, ckpt_path=checkpoint, weights_only=True
            )
        except TimeLimitError as limit:
            if keeper.best is None:
                raise
            log.warning("%s", limit)
            result.status, result.error = "interrupted", str(limit)
            last = folder.last_checkpoint  # the weights at hand are of an unfinished epoch
        result.metrics.last = outcome.test(trainer, module, task, last)
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
    folder, checkpoint = None, None
    if cfg.resume == "auto":
        folder = RunFolder.resume(root, cfg.name, cfg.seed, config)
        if folder is None:
            log.info("resume=auto: no unfinished run of this configuration below %s", root)
        else:
            log.info("resume=auto: going on with %s", folder.path)
            checkpoint = folder.last_checkpoint
    elif cfg.resume is not None:
        checkpoint = Path(cfg.resume)
    try:
        if checkpoint is not None:
            read_checkpoint(checkpoint)
            check_sums(checkpoint)
        folder = folder or RunFolder.create(root, cfg.name, cfg.seed, config)
        with replacing(folder.path / "config.yaml") as temporary:
            OmegaConf.save(cfg, temporary)
    except Exception:
        if folder is not None:
            folder.release()
        raise
    return folder, checkpoint
