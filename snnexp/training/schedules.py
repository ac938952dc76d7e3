"""Learning-rate schedules, each a function of the optimizer and the length of the run.

All return what Lightning calls an lr_scheduler config. `steps` is the number of optimizer steps an
epoch, `epochs` is trainer.max_epochs.
"""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ExponentialLR,
    LambdaLR,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
)

Schedule = dict[str, Any]


def constant(optimizer: Optimizer, steps: int, epochs: int) -> None:
    """Keep the learning rate."""


def exponential(optimizer: Optimizer, steps: int, epochs: int, *, gamma: float) -> Schedule:
    """lr * gamma^epoch."""
    return {"scheduler": ExponentialLR(optimizer, gamma), "interval": "epoch"}


def warmup_exponential(
    optimizer: Optimizer,
    steps: int,
    epochs: int,
    *,
    warmup_epochs: int,
    warmup_divisor: int | None,
    gamma: float,
) -> Schedule:
    """Rise linearly over the first epochs, an iteration at a time, then lr * gamma^epoch.

    Iteration i of the N in the warm-up has lr * (i + 1) / divisor, with divisor = N unless given;
    after it the last value decays by gamma once an epoch. A divisor other than N reproduces runs
    that divided by something else (the seizure paper's code divides by the number of clips).
    """
    total = max(1, warmup_epochs * steps)
    divisor = warmup_divisor or total

    def factor(step: int) -> float:
        if warmup_epochs == 0:
            return float(gamma ** (step // steps))
        if step < total:
            return (step + 1) / divisor
        return float(total / divisor * gamma ** ((step - total) // steps + 1))

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def cosine(
    optimizer: Optimizer, steps: int, epochs: int, *, period: int | None, minimum: float
) -> Schedule:
    """minimum + (lr - minimum) (1 + cos(pi epoch / period)) / 2, stepped once an epoch.

    Past `period` the cosine goes on (the rate rises again), as with torch's CosineAnnealingLR in
    the papers that train for more epochs than one period.
    """
    half = period or epochs
    base = max(group["lr"] for group in optimizer.param_groups)
    floor = minimum / base

    def factor(epoch: int) -> float:
        return floor + (1 - floor) * (1 + math.cos(math.pi * epoch / half)) / 2

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "epoch"}


def warmup_cosine(optimizer: Optimizer, steps: int, epochs: int, *, warmup_epochs: int) -> Schedule:
    """Rise linearly over the first epochs, then half a cosine down to zero; by iteration."""
    rise, total = warmup_epochs * steps, epochs * steps

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def step(optimizer: Optimizer, steps: int, epochs: int, *, every: int, gamma: float) -> Schedule:
    """lr * gamma^floor(epoch / every)."""
    return {"scheduler": StepLR(optimizer, every, gamma), "interval": "epoch"}


def multistep(
    optimizer: Optimizer, steps: int, epochs: int, *, milestones: list[int], gamma: float
) -> Schedule:
    """Multiply lr by gamma at each of the given epochs."""
    return {"scheduler": MultiStepLR(optimizer, milestones, gamma), "interval": "epoch"}


class _LatePlateau(ReduceLROnPlateau):
    """ReduceLROnPlateau that ignores the first `start` epochs."""

    def __init__(self, optimizer: Optimizer, start: int, **options: Any) -> None:
        super().__init__(optimizer, **options)
        self.start = start

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        if self.last_epoch < self.start:
            self.last_epoch += 1
            return
        super().step(metrics, epoch)


def plateau(
    optimizer: Optimizer,
    steps: int,
    epochs: int,
    *,
    monitor: str,
    factor: float,
    patience: int,
    threshold: float,
    start_epoch: int,
) -> Schedule:
    """lr * factor when `monitor` has not fallen for `patience` epochs, from `start_epoch` on."""
    scheduler = _LatePlateau(
        optimizer, start_epoch, mode="min", factor=factor, patience=patience, threshold=threshold
    )
    return {"scheduler": scheduler, "interval": "epoch", "monitor": monitor}
