"""How an epoch is evaluated where a paper has its own way: averaged figures, full precision.

Callbacks of configs/callbacks; no run has them unless it asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.precision import MixedPrecision


class Smoothed(Checkpoint):
    """Log exponential moving averages over epochs of validation figures: curves without jitter.

        m[0] = x[0],   m[e] = decay m[e-1] + (1 - decay) x[e]                                   (1)

    of each of `figures` (`val/acc`), as `<figure>_ema`. The average tells where a run stands when
    an epoch's figure jumps about; it chooses nothing. Epochs without validation leave it as it is,
    and a figure the task does not have (top-5 of ten classes) is left out. The averages travel in
    the checkpoint: a resumed run goes on with them.
    """

    def __init__(self, *, figures: Sequence[str], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.smoothed.decay={decay} must lie in [0, 1)")
        self.figures, self.decay = tuple(figures), decay
        self.means: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the averages for the checkpoint."""
        return {"means": dict(self.means)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the averages of the run that is resumed."""
        self.means = dict(state_dict["means"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take in the figures of this validation, equation (1)."""
        if trainer.sanity_checking:
            return
        for key in self.figures:
            if key in trainer.callback_metrics:
                x = float(trainer.callback_metrics[key])
                m = self.means.get(key, x)
                self.means[key] = self.decay * m + (1 - self.decay) * x

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the averages beside the epoch's figures."""
        for key, mean in self.means.items():
            # of figures that are reduced over processes already
            pl_module.log(f"{key}_ema", mean, rank_zero_only=False)


class Float32Evaluation(Callback):
    """Validate, test and predict in float32 where training runs in mixed precision.

    The SEW ResNet code trains under autocast and evaluates without. Weights are float32 in both.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take autocast off the steps that do not train; other precisions have none."""
        plugin = trainer.precision_plugin
        if isinstance(plugin, MixedPrecision):
            for step in ("val", "test", "predict"):
                setattr(plugin, f"{step}_step_context", nullcontext)
