"""The checkpoints of a run: when they are written, and whether one can be read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from snnexp.report.atomic import replacing
from snnexp.report.record import RecordError


def check_sums(path: Path) -> None:
    """Raise RecordError unless `path` is a whole checkpoint file, by the checksums in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except FileNotFoundError:
        raise RecordError(f"resume: there is no checkpoint file {path}") from None
    except (OSError, zipfile.BadZipFile) as error:
        damaged = str(error)
    if damaged is not None:
        raise RecordError(
            f"{path} is damaged ({damaged}). Go on from another one (resume=<file>, such as "
            "best.ckpt beside it), or start anew with resume=null"
        )


class InPlace(TorchCheckpointIO):
    """Writes a checkpoint where it is told to.

    (Lightning's default writes to the system's folder of temporary files first, which may be full
    where the run's disk is not, and where a killed run leaves its file behind.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the file at once: a full disk is an OSError then, which torch does not pass on."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getbuffer())


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
        if not trainer.is_global_zero:
            trainer.save_checkpoint(path)  # takes part, and leaves the writing to the first process
            return
        try:
            with replacing(path) as temporary:
                trainer.save_checkpoint(temporary)
        except OSError as error:
            raise RecordError(
                f"{path} could not be written: {error.strerror or error}. What was there is as it "
                "was: free some space, then go on with resume=auto"
            ) from error
