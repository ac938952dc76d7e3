"""What a run does when the machine wants its place back: it stops at once, and can go on later."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

log = logging.getLogger("snnexp")


class StoppedError(SystemExit):
    """The run was told to stop. `requeue`: this process is to have Slurm start its job again."""

    def __init__(self, signum: int, first: bool) -> None:
        super().__init__(128 + signum)
        self.requeue = first and signum == signal.SIGUSR1

    def __str__(self) -> str:
        return signal.Signals(self.args[0] - 128).name


class StopSignals(Callback):
    """End training and tests on SIGTERM (a machine taken back), under Slurm also on SIGUSR1.

    Slurm sends SIGUSR1 before a time limit where the job asks for it (`--signal=USR1@90`).

    The run stops where it stands: its checkpoint is of the epoch's start, and is there already.
    (Lightning stops at the end of the batch, for which its processes exchange a message out of
    turn; its way with SIGUSR1 saves weights in the middle of an epoch, from which no run goes on to
    the same numbers.)
    """

    def __init__(self) -> None:
        self.heard: int | None = None

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here if Python swallowed the first try, as it does in a destructor."""
        if self.heard is not None:
            raise StoppedError(self.heard, trainer.is_global_zero)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals over from Lightning, which gives them back when the stage ends."""
        self._listen(trainer)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals over."""
        self._listen(trainer)

    def _listen(self, trainer: L.Trainer) -> None:
        launcher = trainer.strategy.launcher

        def stop(signum: int, frame: FrameType | None) -> Any:
            self.heard = signum
            if isinstance(launcher, _SubprocessScriptLauncher):
                launcher.kill(signum)
            raise StoppedError(signum, trainer.is_global_zero)

        for signum in [signal.SIGTERM, *([signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else [])]:
            signal.signal(signum, stop)


def requeue(environment: Mapping[str, str]) -> None:
    """Have Slurm start this job again. With resume=auto in its command it goes on where it was."""
    job = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.error("Slurm did not requeue job %s: %s %s", job, error, getattr(error, "stderr", ""))
    else:
        log.info("Slurm will start job %s again", job)
