"""How weights are learned: one class a learning rule, all behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch.nn as nn
from torch import Tensor
from torch.optim import Optimizer

if TYPE_CHECKING:
    from snnexp.data.base import Batch
    from snnexp.training.module import SNNModule


class Rule:
    """A learning rule. `gradients` says whether the trainer runs backward and the optimizer.

    `shuffle` says whether training items come in a new order each epoch.
    """

    gradients: bool
    shuffle: bool

    def configure(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., dict[str, Any] | None],
        steps: int,
        epochs: int,
    ) -> Any:
        """Return what Lightning's configure_optimizers returns."""
        raise NotImplementedError

    def step(self, module: SNNModule, batch: Batch) -> dict[str, Tensor]:
        """Learn from one batch (or compute its loss, for the trainer to descend)."""
        raise NotImplementedError

    def start_epoch(self, module: SNNModule) -> None:
        """Do what the rule does before an epoch learns."""

    def end_epoch(self, module: SNNModule) -> None:
        """Do what the rule does after an epoch; weights are kept as they were validated."""

    def state_dict(self) -> dict[str, Any]:
        """Return what goes from one epoch to the next, beside weights and optimizer."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of a run that goes on."""


class BPTT(Rule):
    """Backpropagation through time with surrogate gradients, by the run's optimizer.

    `weight_decay_on`: 'weights' decays only tensors of two and more dimensions (matrices,
    filters); 'all' also leaks, thresholds, biases and norms, as one parameter group would.
    """

    gradients, shuffle = True, True

    def __init__(self, *, weight_decay_on: Literal["weights", "all"]) -> None:
        self.weight_decay_on = weight_decay_on

    def configure(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., dict[str, Any] | None],
        steps: int,
        epochs: int,
    ) -> Any:
        """Build the optimizer and its schedule."""
        built = optimizer(self._groups(model))
        schedule = scheduler(built, steps, epochs)
        if schedule is None:
            return built
        return {"optimizer": built, "lr_scheduler": schedule}

    def step(self, module: SNNModule, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss of one batch."""
        return module.loss_of(batch)

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        parameters = [p for p in model.parameters() if p.requires_grad]
        if self.weight_decay_on == "all":
            return [{"params": parameters}]
        decayed = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}]
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
        return groups
