"""A trial at work: it reports each epoch to its study, and stops where that is not worth more."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import lightning as L
import optuna
from lightning.pytorch.callbacks import Checkpoint
from optuna.trial import Trial

from snnexp.config.validate import ConfigError
from snnexp.run import Watch
from snnexp.sweep.job import PrunedRun

STUDY = "search"


class ReportEpoch(Checkpoint):
    """Report the figure that chooses an epoch; raise PrunedRun where the study says so."""

    def __init__(self, trial: Trial, figure: str, prune: bool) -> None:
        self.trial, self.figure, self.prune = trial, figure, prune

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report this epoch."""
        epoch, value = trainer.current_epoch, float(trainer.callback_metrics[self.figure])
        # a trial that was cut may come to an epoch a second time: the value is the same
        if epoch not in self.trial.study.trials[self.trial.number].intermediate_values:
            self.trial.report(value, epoch)
        last = trainer.max_epochs is not None and epoch + 1 == trainer.max_epochs
        if self.prune and not last and self.trial.should_prune():
            raise PrunedRun(
                f"pruned after epoch {epoch + 1}: {self.figure} {value:.4g} is worse than the "
                "median of earlier trials there"
            )


def storage(folder: Path) -> str:
    """Return the address of a sweep folder's study."""
    return f"sqlite:///{(folder / 'study.db').resolve()}"


def watcher(folder: Path, number: int) -> Watch:
    """Return what makes the callback that reports each epoch to a trial of the folder's study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=STUDY, storage=storage(folder))
    options = study.user_attrs
    study.pruner = optuna.pruners.MedianPruner(options["startup"], options["warmup"])
    # the public way to a trial that another process has asked for is to ask for a new one
    trial = Trial(study, study.trials[number]._trial_id)

    def watch(figure: str, mode: Literal["min", "max"]) -> Checkpoint:
        check_direction(study, figure, mode)
        return ReportEpoch(trial, figure, options["prune"])

    return watch


def check_direction(study: optuna.Study, figure: str, mode: Literal["min", "max"]) -> None:
    """Raise ConfigError for a search that seeks the worst of a figure."""
    if study.direction.name.lower() != f"{mode}imize":
        raise ConfigError(
            [f"hydra.sweeper.direction: {figure} is to be {mode}imized; give {mode}imize"]
        )
