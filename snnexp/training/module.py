"""The LightningModule of every run: a model, a loss, a learning rule, and what is logged of them.

Letters: B batch, T time, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import lightning as L
import torch
import torch.nn as nn
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics.utilities.distributed import gather_all_tensors

from snnexp.data.base import Batch, Predictions, TaskSpec
from snnexp.losses import Loss
from snnexp.metrics.activity import Activity, Tape, activity_scalars
from snnexp.metrics.classification import Classification
from snnexp.metrics.depth import Depth
from snnexp.metrics.synops import Probe, SynOps
from snnexp.models.base import Model, ModelOutput, SpecError
from snnexp.training.rules import Rule
from snnexp.training.sharding import clip, divided

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Tested:
    """All that a test found: figures, firing activity, synaptic operations, predictions."""

    metrics: dict[str, float]
    activity: dict[str, Any] | None
    synops: dict[str, Any]
    confusion: list[list[int]] | None
    predictions: Predictions


class SNNModule(L.LightningModule):
    """Train, validate and test `model` on batches of one task.

    Logged, once an epoch and reduced over processes: `<split>/loss` and its parts, the task's
    figures (`<split>/acc`, ...), `<split>/rate`, `<split>/dead` and their per-layer values. After
    a test, `tested` holds everything it found.
    """

    def __init__(
        self,
        spec: TaskSpec,
        model: Model,
        loss: Loss,
        rule: Rule,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., dict[str, Any] | None],
    ) -> None:
        super().__init__()
        if loss.kind != spec.kind:
            raise SpecError(
                f"loss {type(loss).__name__} serves {loss.kind}, task {spec.name} is {spec.kind}; "
                "choose another with loss=<name> (configs/loss)"
            )
        self.spec, self.model, self.loss, self.rule = spec, model, loss, rule
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.automatic_optimization = rule.gradients
        self.tape = Tape(model, price=loss.activity and loss.activity.of_layer)
        self.probe = Probe(model)
        self.constrained: list[Any] = [m for m in model.modules() if hasattr(m, "constrain")]
        self.figures = nn.ModuleList(self._figures(s) for s in SPLITS)
        self.activity = nn.ModuleList(Activity(spec.dt) for s in SPLITS)
        self.synops = SynOps(self.probe)
        self.tested: Tested | None = None
        self._kept: list[Predictions] = []

    def _figures(self, split: str) -> Classification | Depth:
        if self.spec.kind == "depth":
            return Depth(split)
        # top-5 only where it is customary: a thousand classes, not ten
        return Classification(
            self.spec.classes,
            split,
            detailed=split == "test",
            top5=len(self.spec.classes) >= 100,
        )

    def _counters(self, split: str) -> tuple[Classification | Depth, Activity]:
        i = SPLITS.index(split)
        return cast(Classification | Depth, self.figures[i]), cast(Activity, self.activity[i])

    def forward(self, x: Tensor) -> ModelOutput:
        """Run the model on one batch's input [B, T, ...] (static: [B, ...])."""
        output: ModelOutput = self.model(x if self.spec.static else x.transpose(0, 1))
        return output

    def loss_of(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss of a training batch, and count what it did."""
        return self._observe("train", batch)[0]

    def _observe(self, split: str, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Run, count and log one batch; return the terms of the loss and the prediction."""
        output = self(batch["input"])
        layers = [f.priced for f in self.tape.values() if f.priced is not None]
        terms = self.loss(output.prediction, batch["target"], layers)
        prediction = output.prediction
        final = prediction if isinstance(prediction, Tensor) else prediction[-1]
        figures, activity = self._counters(split)
        with torch.no_grad():
            figures.update(final, batch["target"])
            if self.tape:
                activity.update(self.tape)
        self.tape.clear()
        for name, value in terms.items():
            self.log(
                f"{split}/{name}",
                value.detach(),
                on_step=False,
                on_epoch=True,
                batch_size=len(batch["index"]),
                sync_dist=True,
                prog_bar=split == "train" and name == "loss",
            )
        return terms, final.detach()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        """Learn from one batch, by the rule."""
        terms = self.rule.step(self, batch)
        if not self.rule.gradients:
            return None
        if self.trainer.world_size > 1:
            terms["loss"] = terms["loss"] * self._weight(len(batch["index"]))
        return terms

    def _weight(self, items: int) -> Tensor:
        """Return what makes the processes' mean gradient that of the whole batch.

        Process r has m_r of the batch's m items, and the strategy averages gradients over the R
        processes:  1/R sum_r (R m_r / m) grad_r  =  the gradient of the mean over all items.
        """
        mine = torch.tensor(float(items), device=self.device)
        return mine / self.trainer.strategy.reduce(mine.clone(), reduce_op="mean")

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients, also those of a network that is divided among processes."""
        if gradient_clip_val is not None and divided(self.model):
            parameters = chain.from_iterable(g["params"] for g in optimizer.param_groups)
            by_value = gradient_clip_algorithm == "value"
            clip(parameters, float(gradient_clip_val), by_value)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Bring learned leaks and thresholds back into their range."""
        for module in self.constrained:
            module.constrain()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one validation batch."""
        self._observe("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one test batch, its synaptic operations included, and keep its predictions."""
        self.probe.recording = True
        try:
            _, prediction = self._observe("test", batch)
        finally:
            self.probe.recording = False
        self.synops.update(len(batch["index"]))
        kept = (prediction, batch["target"], batch["index"])
        self._kept.append(Predictions(*(t.detach().cpu() for t in kept)))

    def on_train_epoch_start(self) -> None:
        """Let the rule begin the epoch."""
        self.rule.start_epoch(self)

    def on_train_epoch_end(self) -> None:
        """Log the epoch, and let the rule do what it does between epochs."""
        self._close("train")
        self.rule.end_epoch(self)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's validation figures."""
        self._close("val")

    def on_test_epoch_end(self) -> None:
        """Log the test figures and keep all that the test found."""
        figures = self._counters("test")[0]
        confusion = figures.confusion() if isinstance(figures, Classification) else None
        metrics, activity = self._close("test")
        self.tested = Tested(
            metrics=metrics,
            activity=activity,
            synops=self.synops.compute(),
            confusion=confusion,
            predictions=self._predictions(),
        )
        self.synops.reset()
        self._kept.clear()

    def _predictions(self) -> Predictions:
        """Return what was kept, of all processes and in the order of the data set."""
        columns = zip(*((k.scores, k.target, k.index) for k in self._kept), strict=True)
        scores, target, index = (torch.cat(c) for c in columns)
        if self.trainer.world_size == 1:
            return Predictions(scores, target, index)
        scores, target, index = (
            torch.cat([part.cpu() for part in gather_all_tensors(c.to(self.device))])
            for c in (scores, target, index)
        )
        order = index.argsort()
        return Predictions(scores[order], target[order], index[order])

    def _close(self, split: str) -> tuple[dict[str, float], dict[str, Any] | None]:
        """Compute, log and reset what was counted over an epoch."""
        figures, activity = self._counters(split)
        scalars = dict(figures.compute())
        fired = activity.compute() if activity.layers else None
        if fired is not None:
            scalars |= activity_scalars(fired, split, self.model.parts)
        shown = {f"{split}/acc", f"{split}/rate", f"{split}/mde_cm"}
        for key, value in scalars.items():
            # computed over all processes already: nothing is left to reduce
            self.log(key, float(value), prog_bar=key in shown, rank_zero_only=False)
        figures.reset()
        activity.reset()
        return scalars, fired

    def configure_optimizers(self) -> Any:
        """Ask the rule."""
        epochs = self.trainer.max_epochs or 1
        batches = self.trainer.estimated_stepping_batches
        steps = max(1, int(batches // epochs)) if batches != float("inf") else 1
        return self.rule.configure(
            self.model, self.make_optimizer, self.make_scheduler, steps, epochs
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep weights and the rule's state: what was counted in an epoch is no part of a model."""
        prefixes = ("figures.", "activity.", "synops.", "loss.")
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith(prefixes)}
        checkpoint["rule"] = self.rule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the rule's state; refuse a checkpoint of another model, and say what differs."""
        own = {k: tuple(v.shape) for k, v in self.state_dict().items() if k.startswith("model.")}
        other = {k: tuple(v.shape) for k, v in checkpoint["state_dict"].items()}
        if own == other:
            self.rule.load_state_dict(checkpoint.get("rule", {}))
            return
        differing = [
            f"{k}: here {own.get(k)}, in the checkpoint {other.get(k)}"
            for k in own | other
            if own.get(k) != other.get(k)
        ]
        raise CheckpointMismatchError(
            "the checkpoint belongs to another model or task. First differences:\n  "
            + "\n  ".join(differing[:5])
            + "\nGive the model and task it was made with, or another checkpoint (resume=...)."
        )


class CheckpointMismatchError(ValueError):
    """A checkpoint whose weights do not fit the configured model."""
