"""What happens around the steps of a run: seeds, guards, history, progress.

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
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar, Timer
from rich.console import Console
from torch import Tensor

from snnexp.report.atomic import replacing
from snnexp.report.record import Interrupted, RecordError
from snnexp.training.crew import PeerError

log = logging.getLogger("snnexp")


class TrainingDivergedError(RuntimeError):
    """The loss is not a finite number any more."""


class EpochSeed(Callback):
    """Seed every generator from (seed, epoch, process) when an epoch starts.

    An epoch's shuffling, dropout and augmentation then depend on nothing before it: a run that is
    resumed at an epoch's start continues with the numbers of a run that was never cut.

    All processes start the epoch with the first one's seed, so that all draw the same order of
    items (`SharedBatches`); with its first batch each goes on with its own.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed Python, NumPy and torch, and have the epoch's order drawn from that seed."""
        self._seed(trainer, 0)
        # Lightning makes the loader's iterator, which draws a number, after this hook; but before
        # it in the first and in a resumed epoch: there it is made anew
        loop = trainer.fit_loop
        if trainer.current_epoch == 0 or loop.is_resuming or loop.epoch_loop.restarting:
            iter(loop._data_fetcher)  # type: ignore[arg-type] # set before any epoch starts

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Give the other processes their own dropout and augmentation."""
        if trainer.global_rank > 0 and batch_idx == 0:
            self._seed(trainer, trainer.global_rank)

    def _seed(self, trainer: L.Trainer, process: int) -> None:
        key = (self.seed, trainer.current_epoch, process)
        state = int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0])
        random.seed(state)
        np.random.seed(state)  # noqa: NPY002 - libraries draw from the global generator
        torch.manual_seed(state)


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
        if trainer.current_epoch == 0 and not self._finite(trainer, batch["input"]):
            raise TrainingDivergedError(
                f"the input of training batch {batch_idx} holds values that are not finite "
                f"(items {batch['index'].tolist()[:8]}, ...): mend or skip them in the task"
            )
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor) or batch_idx % self.every:
            return
        if not self._finite(trainer, loss):
            rates = [g["lr"] for o in trainer.optimizers for g in o.param_groups]
            raise TrainingDivergedError(
                f"the training loss became {loss.item()} at epoch {trainer.current_epoch}, batch "
                f"{batch_idx} (learning rate {rates[0] if rates else 'none'}). Try a smaller "
                "optimizer.lr, trainer.gradient_clip_val=1, or trainer.precision=32-true; "
                "checkpoints of earlier epochs are kept in the run's folder."
            )

    def _finite(self, trainer: L.Trainer, values: Tensor) -> bool:
        """Look at the values of this process; PeerError where only another one's are not finite."""
        finite = bool(torch.isfinite(values).all())
        # all stop together: one that went on alone would wait for ever
        together = trainer.world_size == 1 or trainer.strategy.reduce_boolean_decision(finite)
        if finite and not together:
            raise PeerError("another process met values that are not finite")
        return finite


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
        import pandas as pd  # here: it would hold up the first step of every run

        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {k: float(v) for k, v in trainer.callback_metrics.items()}
        rates = [g["lr"] for o in trainer.optimizers for g in o.param_groups]
        row |= {"lr": rates[0]} if rates else {}
        row["seconds"] = time.perf_counter() - self.started
        self.rows.append(row)
        if trainer.is_global_zero:
            try:
                with replacing(self.path) as temporary:
                    pd.DataFrame(self.rows).to_csv(temporary, index=False)
            except OSError as error:
                raise RecordError(
                    f"{self.path} could not be written: {error.strerror or error}. Free some "
                    "space, then go on with resume=auto"
                ) from error


class TimeLimitError(Interrupted):
    """The time of `trainer.max_time` is over."""


class TimeLimit(Timer):
    """Stop before the next batch once training has taken `duration` since this start of the run.

    What was done of the epoch is given up: a run that goes on later starts from the epoch's
    checkpoint, and comes to the numbers of a run that was never stopped. (Lightning's own limit
    counts earlier starts, too, and ends the epoch early, as if it had been a whole one.)
    The test that follows, and the validation of an epoch that is done, take their time beyond it.
    """

    def __init__(self, duration: str | dict[str, int]) -> None:
        super().__init__(duration)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the first process's clock."""
        over = trainer.is_global_zero and (self.time_remaining() or 0) <= 0
        if trainer.world_size > 1:
            over = trainer.strategy.reduce_boolean_decision(over, all=False)
        if over:
            raise TimeLimitError(
                f"trainer.max_time is over, with {trainer.current_epoch} of {trainer.max_epochs} "
                "epochs done; resume=auto goes on"
            )

    def on_fit_start(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Look at no clock: nothing is started yet."""

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Look at no clock: an epoch whose last batch is done is finished."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: each start of a run has the whole time."""
        return {}


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
