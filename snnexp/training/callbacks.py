"""What happens around the steps of a run: seeds, guards, history, checkpoints, progress.

Callbacks that read the figures of an epoch derive from Lightning's `Checkpoint`: only those are
called after the module has logged its epoch.
"""

from __future__ import annotations

import logging
import random
import time
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar
from rich.console import Console
from torch import Tensor

log = logging.getLogger("snnexp")


class TrainingDivergedError(RuntimeError):
    """The loss is not a finite number any more."""


class EpochSeed(Callback):
    """Seed every generator from (seed, epoch, process) when an epoch starts.

    An epoch's shuffling, dropout and augmentation then depend on nothing before it: a run that is
    resumed at an epoch's start continues with the numbers of a run that was never cut.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed Python, NumPy and torch, and have the epoch's order drawn from that seed."""
        key = (self.seed, trainer.current_epoch, trainer.global_rank)
        state = int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0])
        random.seed(state)
        np.random.seed(state)  # noqa: NPY002 - libraries draw from the global generator
        torch.manual_seed(state)
        # Lightning makes the loader's iterator, which draws a number, after this hook; but before
        # it in the first and in a resumed epoch: there it is made anew
        loop = trainer.fit_loop
        if trainer.current_epoch == 0 or loop.is_resuming or loop.epoch_loop.restarting:
            iter(loop._data_fetcher)  # type: ignore[arg-type] # set before any epoch starts


class FiniteLoss(Callback):
    """Stop a run whose loss is NaN or infinite, before it overwrites its last good checkpoint.

    `every`: batches between two looks; each look waits for the device.
    """

    def __init__(self, *, every: int) -> None:
        self.every = max(1, every)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the loss of this batch, and in the first epoch at its input.

        A neuron does not pass on a NaN (no comparison with it is true): bad input would only
        silence it.
        """
        if trainer.current_epoch == 0 and not torch.isfinite(batch["input"]).all():
            raise TrainingDivergedError(
                f"the input of training batch {batch_idx} holds values that are not finite "
                f"(items {batch['index'].tolist()[:8]}, ...): mend or skip them in the task"
            )
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor) or batch_idx % self.every:
            return
        if not torch.isfinite(loss).all():
            rates = [g["lr"] for o in trainer.optimizers for g in o.param_groups]
            raise TrainingDivergedError(
                f"the training loss became {loss.item()} at epoch {trainer.current_epoch}, batch "
                f"{batch_idx} (learning rate {rates[0] if rates else 'none'}). Try a smaller "
                "optimizer.lr, trainer.gradient_clip_val=1, or trainer.precision=32-true; "
                "checkpoints of earlier epochs are kept in the run's folder."
            )


class History(Checkpoint):
    """metrics.csv: one row an epoch with every logged figure, the learning rate and the time.

    The rows travel in the checkpoint, so the file of a resumed run is whole. (Lightning's CSVLogger
    deletes the file it finds.)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self.started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows for the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the run that is resumed."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch's clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch's row and rewrite the file."""
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {k: float(v) for k, v in trainer.callback_metrics.items()}
        rates = [g["lr"] for o in trainer.optimizers for g in o.param_groups]
        row |= {"lr": rates[0]} if rates else {}
        row["seconds"] = time.perf_counter() - self.started
        self.rows.append(row)
        if trainer.is_global_zero:
            temporary = self.path.with_suffix(".tmp")
            pd.DataFrame(self.rows).to_csv(temporary, index=False)
            temporary.replace(self.path)


class RunCheckpoint(Checkpoint):
    """`last.ckpt` whenever an epoch starts and at the end, `best.ckpt` when `monitor` improves.

    An epoch's start is the one point where nothing of an epoch is pending (Lightning steps the
    schedules of an epoch after its last hook), and where a run can go on to the same numbers. A
    run cut in its first epoch leaves something to resume, too.
    Each file is written beside its place and then renamed: a run that is killed while it saves
    keeps the older one. (Lightning's ModelCheckpoint writes its `last` only when the monitored
    value improves, and nothing at all where a rule learns without an optimizer.)
    """

    def __init__(self, folder: Path, monitor: str, mode: Literal["min", "max"]) -> None:
        self.folder, self.monitor, self.mode = folder, monitor, mode
        self.best: float | None = None
        self.best_epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """Return what has been best so far."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was best in the run that is resumed."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write where the run stands."""
        # Lightning sets these to zero a moment later; saved as they are, the epoch would look done
        loop = trainer.fit_loop.epoch_loop
        loop.batch_progress.reset_on_run()
        loop.scheduler_progress.reset_on_run()
        loop.automatic_optimization.optim_progress.reset_on_run()
        loop.val_loop.batch_progress.total.reset()
        self._save(trainer, "last.ckpt")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the final weights."""
        self._save(trainer, "last.ckpt")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the epoch's weights if they are the best so far."""
        if self.monitor not in trainer.callback_metrics:
            raise RuntimeError(f"{self.monitor} was not logged: the split it names has no batches")
        value = float(trainer.callback_metrics[self.monitor])
        better = self.best is None or (
            value > self.best if self.mode == "max" else value < self.best
        )
        if better:
            self.best, self.best_epoch = value, trainer.current_epoch
            self._save(trainer, "best.ckpt")

    def _save(self, trainer: L.Trainer, name: str) -> None:
        path = self.folder / name
        temporary = path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(path)


class DeadNeuronWarning(Checkpoint):
    """Warn once of each layer of which more than `share` never fired in an epoch."""

    def __init__(self, *, share: float) -> None:
        self.share = share
        self.warned: set[str] = set()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the dead shares that the module logged."""
        prefix = "train/dead/"
        shares = {
            key.removeprefix(prefix): float(value)
            for key, value in trainer.callback_metrics.items()
            if key.startswith(prefix)
        }
        silent = {k: v for k, v in shares.items() if v > self.share and k not in self.warned}
        self.warned.update(silent)
        if silent:
            log.warning(
                "neurons that never fired in epoch %d: %s. If they stay silent, try a larger "
                "weight initialisation (model.weight_std, where the model has it; model.scale of "
                "stereospike), a lower threshold (model.neuron.v_th), a wider surrogate "
                "(model.neuron.surrogate.alpha), or a smaller price on spikes "
                "(loss.activity.weight).",
                trainer.current_epoch + 1,
                ", ".join(f"{100 * v:.0f} % of {k}" for k, v in silent.items()),
            )


class EpochLines(Checkpoint):
    """One line an epoch, for logs and pipes: what a progress bar shows, without its redraws."""

    def __init__(self) -> None:
        self.started = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch's clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the epoch's figures."""
        shown = {k: float(v) for k, v in trainer.progress_bar_metrics.items()}
        figures = "  ".join(f"{k} {value:.4g}" for k, value in sorted(shown.items()))
        seconds = time.perf_counter() - self.started
        log.info(
            "epoch %d/%s  %s  %.1f s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            figures,
            seconds,
        )


def progress(*, style: Literal["auto", "bar", "lines", "none"]) -> Callback:
    """Return a bar where a terminal shows it, lines elsewhere (`auto`), or what is asked for."""
    if style == "auto":
        style = "bar" if Console().is_terminal else "lines"
    if style == "bar":
        return RichProgressBar(leave=True)
    return EpochLines() if style == "lines" else Callback()
