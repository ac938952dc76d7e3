"""Trivial predictors of the speech task: what a spiking network must beat."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from snnexp.data.base import Split

#: frames averaged into one feature: 101 steps become 26
_POOL = 4
#: power below the clip's loudest band at which the logarithm stops falling (-40 dB)
_FLOOR = 1e-4
#: inverse penalty: the best of 1e-5 ... 1 on the validation clips of real speech
_C = 0.01


def chance(test_targets: Tensor, n_classes: int) -> dict[str, float]:
    """Return the accuracy of the best constant answer and of uniform guessing."""
    counts = torch.bincount(test_targets, minlength=n_classes)
    return {"chance": counts.max().item() / len(test_targets), "uniform": 1 / n_classes}


def linear(logmel: Mapping[Split, Tensor], targets: Mapping[Split, Tensor]) -> dict[Split, float]:
    """Return the accuracy of multinomial logistic regression on log-mel spectrograms.

    The spectrograms are in true decibels above a floor of -40 dB (on the network's
    log(1 + S / max S) the same model does far worse), averaged over 40 ms, and standardised by the
    training set. Classes weigh the same, as in the protocol.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    splits: tuple[Split, ...] = ("train", "val", "test")
    x = {split: _decibels(logmel[split]) for split in splits}
    mean, std = x["train"].mean(axis=0), x["train"].std(axis=0)
    std[std == 0] = 1
    for values in x.values():
        values -= mean
        values /= std
    model = LogisticRegression(C=_C, class_weight="balanced", max_iter=100)
    # The matrices are small: threads that spin for each other take longer than one alone.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A hundred steps are within a point of convergence, at a third of its time.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x["train"], targets["train"].numpy())
    return {split: float(model.score(x[split], targets[split].numpy())) for split in splits}


def _decibels(logmel_NTF: Tensor) -> NDArray[np.float32]:
    power = torch.log(torch.expm1(logmel_NTF) + _FLOOR)
    return F.avg_pool1d(power.transpose(1, 2), _POOL, ceil_mode=True).flatten(1).numpy()


def write_linear(
    folder: Path, logmel: Mapping[Split, Tensor], targets: Mapping[Split, Tensor]
) -> None:
    """Fit the linear baseline and write linear.json."""
    text = json.dumps(linear(logmel, targets), indent=1)
    (folder / "linear.json").write_text(text + "\n")


def read_linear(folder: Path) -> float:
    """Return the test accuracy that `write_linear` wrote."""
    return float(json.loads((folder / "linear.json").read_text())["test"])
