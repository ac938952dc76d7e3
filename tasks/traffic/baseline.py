"""The linear baseline: logistic regression on the two marginals of a window's histogram."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from snnexp.data.base import Batch

CHUNK = 256


class Windows(Protocol):
    """A dataset that collates by slicing."""

    targets: torch.Tensor

    def __len__(self) -> int:
        """Return the number of windows."""
        ...

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a batch."""
        ...


def marginals(windows: Windows) -> np.ndarray:
    """Return packets by time bin and by size bin, side by side: [W, 600]."""
    rows = []
    for low in range(0, len(windows), CHUNK):
        chunk = list(range(low, min(low + CHUNK, len(windows))))
        counts = windows.__getitems__(chunk)["input"]
        rows.append(torch.cat([counts.sum(2), counts.sum(1)], 1).numpy())
    return np.concatenate(rows)


def linear_accuracy(train: Windows, test: Windows) -> float:
    """Return the test accuracy of logistic regression on standardised marginals."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(marginals(train), train.targets.numpy())
    return float(model.score(marginals(test), test.targets.numpy()))
