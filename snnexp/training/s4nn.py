"""The learning rule of S4NN in the trainer: temporal backpropagation, one image at a time.

Letters: B batch, J units of a layer, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn as nn
from lightning.pytorch.core.optimizer import LightningOptimizer
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD, Optimizer

from snnexp.kernels.s4nn import TrainFigures, count_right, provider
from snnexp.losses import Loss
from snnexp.models import s4nn as network
from snnexp.models.base import SpecError
from snnexp.training.rules import Rule

if TYPE_CHECKING:
    from snnexp.data.base import Batch
    from snnexp.training.module import SNNModule


class RelativeLatency(Loss):
    """1/2 sum_k ((T_k - t_k) / t_max)^2, mean over the batch, with the paper's targets T.

    Kheradpisheh & Masquelier 2020; equations (3) and (4) of `snnexp.kernels.s4nn.reference`. Reads
    spike times off the scores of the model and has no gradient. Beside the loss, as terms:
    `acc_ties_right` and `acc_unique`, two other ways to count (`count_right`; `acc` itself breaks
    ties by potential); `decision_time`, the mean time of the first output; `silent`, the share of
    images on which no output fired.
    """

    kind = "classification"

    def __init__(self, *, gamma: int, t_max: int) -> None:
        super().__init__(activity=None)
        self.gamma, self.t_max = gamma, t_max

    def task_loss(self, prediction: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the loss of scores [B, K]."""
        assert isinstance(prediction, Tensor)
        t_BK = self.t_max - prediction.floor()
        first_B1 = t_BK.min(1, keepdim=True).values
        pushed = (first_B1 + self.gamma).clamp(max=self.t_max)
        wished_BK = torch.where(t_BK - first_B1 < self.gamma, pushed, t_BK)
        label = torch.where(first_B1 < self.t_max, first_B1, self.t_max - self.gamma)
        wished_BK = wished_BK.scatter(1, target[:, None], label)
        return 0.5 * ((wished_BK - t_BK) / self.t_max).square().sum(1).mean()

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return softmax(scores / gamma): a lead by the margin counts as a factor e.

        Spike times order the classes; the paper gives them no probabilities.
        """
        return (scores.float() / self.gamma).softmax(-1)

    def forward(
        self,
        prediction: Tensor | tuple[Tensor, ...],
        target: Tensor,
        layers: Sequence[Tensor] = (),
    ) -> dict[str, Tensor]:
        """Return the loss and what else the scores tell."""
        assert isinstance(prediction, Tensor)
        right = count_right(prediction.cpu().numpy(), target.cpu().numpy())
        earliest_B = prediction.floor().max(1).values
        return {
            "loss": self.task_loss(prediction, target),
            "acc_ties_right": torch.tensor(right["ties_right"] / len(target)),
            "acc_unique": torch.tensor(right["unique"] / len(target)),
            "decision_time": (self.t_max - earliest_B).mean(),
            "silent": (earliest_B == 0).float().mean(),
        }


class S4NN(Rule):
    """Learn by (5)-(8) of `snnexp.kernels.s4nn.reference`, in file order, without gradients.

    Step size and decay lambda are the optimizer's lr and weight_decay (SGD without momentum, which
    is what (6) and (7) are); the schedule is the run's. A hidden unit that fired on less than
    `redraw_below` of an epoch's training images, counted while learning, gets new weights from the
    initial distribution before the next epoch; whether the authors count so is not known.

    Logged are the figures of each image before its own update, and `train/time/<layer>`, the mean
    spike time of a layer's units, where a silent unit counts as t_max.

    `batch`: images a step. 1 is the paper's rule, on one core. More adds up the steps of that many
    images, computed from the same weights, and uses all cores: a deviation.
    """

    gradients, shuffle = False, False

    def __init__(self, *, batch: int, redraw_below: float) -> None:
        if batch < 1 or not 0 <= redraw_below < 1:
            raise ValueError(
                f"rule.batch={batch} must be at least 1, rule.redraw_below={redraw_below} in [0, 1)"
            )
        self.batch, self.redraw_below = batch, redraw_below
        self.fired: list[NDArray[np.int64]] = []
        self.silent: list[Tensor] = []
        self.time: list[float] = []
        self.images = 0

    def configure(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., dict[str, Any] | None],
        steps: int,
        epochs: int,
    ) -> Any:
        """Build the optimizer, which only holds rates, and its schedule."""
        if not isinstance(model, network.S4NN):
            raise SpecError(
                f"rule=s4nn teaches model=s4nn, not {type(model).__name__}; use rule=bptt for it"
            )
        built = optimizer([{"params": [layer.weight]} for layer in model.stack])
        group = built.param_groups[0]
        if not isinstance(built, SGD) or group["momentum"] or group["nesterov"]:
            raise SpecError(
                "rule=s4nn needs optimizer=s4nn (SGD without momentum): only its lr and "
                "weight_decay are read"
            )
        schedule = scheduler(built, steps, epochs)
        if schedule is None:
            return built
        if schedule.get("monitor") is not None:
            raise SpecError(
                "rule=s4nn takes schedules that depend on time alone, such as scheduler=cosine"
            )
        return {"optimizer": built, "lr_scheduler": schedule}

    def step(self, module: SNNModule, batch: Batch) -> dict[str, Tensor]:
        """Learn from the images of one batch, one after the other."""
        if module.trainer.world_size > 1:
            raise SpecError(
                "rule=s4nn learns image by image and cannot be spread over processes; give "
                "trainer.devices=1, and run seeds side by side (-m seed=0,1,2)"
            )
        model, target = module.model, batch["target"]
        assert isinstance(model, network.S4NN)
        optimizer = cast(LightningOptimizer, module.optimizers())
        groups = optimizer.param_groups
        constants = model.constants([g["lr"] for g in groups], [g["weight_decay"] for g in groups])
        weights = tuple(network.array(layer.weight) for layer in model.stack)
        units = model.unit_of_class[target].cpu().numpy()
        seen = provider(model.backend).train(
            weights, model.encode(batch["input"]), units, constants, self.batch
        )
        for layer, w in zip(model.stack, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
        # it has no gradients and changes nothing, but Lightning counts its steps
        optimizer.step()
        self._advance(module, "step")
        self._keep(seen, len(target))
        return self._count(module, batch, model.scores_of(seen.output))

    def _keep(self, seen: TrainFigures, images: int) -> None:
        """Add up what units did over the batches of an epoch."""
        if not self.images:
            self.fired = [np.zeros_like(f) for f in seen.fired]
            self.time = [0.0] * len(seen.time)
        self.images += images
        for layer, fired in enumerate(seen.fired):
            self.fired[layer] += fired
            self.time[layer] += images * seen.time[layer]

    def _count(self, module: SNNModule, batch: Batch, prediction: Tensor) -> dict[str, Tensor]:
        """Count and log what the images showed before their updates: no second pass is needed."""
        terms = module.loss(prediction, batch["target"])
        figures, _ = module._counters("train")
        figures.update(prediction, batch["target"])
        for name, value in terms.items():
            module.log(
                f"train/{name}",
                value,
                on_step=False,
                on_epoch=True,
                batch_size=len(batch["target"]),
                prog_bar=name == "loss",
            )
        return terms

    def _advance(self, module: SNNModule, interval: str) -> None:
        """Move the schedule on if this is its interval; Lightning leaves that to the rule."""
        for config in module.trainer.lr_scheduler_configs:
            if config.interval == interval:
                scheduler: Any = config.scheduler  # of time alone, see `configure`
                scheduler.step()

    def start_epoch(self, module: SNNModule) -> None:
        """Draw units that were silent over the last epoch anew."""
        model = module.model
        assert isinstance(model, network.S4NN)
        if self.silent:  # none before the first epoch
            for layer, silent in zip(model.stack[:-1], self.silent, strict=True):
                layer.redraw(silent)

    def end_epoch(self, module: SNNModule) -> None:
        """Note silent hidden units, log mean spike times, and move the schedule on."""
        self.silent = [
            torch.from_numpy(fired < self.redraw_below * self.images) for fired in self.fired[:-1]
        ]
        for index, time in enumerate(self.time):
            module.log(f"train/time/layers.{index}", time / self.images)
        self.images = 0
        self._advance(module, "epoch")

    def state_dict(self) -> dict[str, Any]:
        """Return which units were silent."""
        return {"silent": self.silent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up which units were silent."""
        self.silent = state.get("silent", [])
