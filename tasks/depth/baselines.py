"""What depth predictors without a network reach on the same frames.

Letters: N frames, C channels, H W space, h w blocks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnexp.metrics.depth import Depth
from tasks.depth.frames import DepthDataset

#: blocks in height and width that the linear model sees and predicts, at most
BLOCKS = (12, 16)


def errors(train: DepthDataset, test: DepthDataset) -> dict[str, float]:
    """Return the mean depth error on `test`, in cm, of two predictors fitted on `train`.

    `mean_depth_cm`: at each pixel the mean of its known training depths (where it has none, their
    mean over all pixels). `linear_cm`: ridge regression (strength by leave-one-out) from
    log(1 + counts), averaged over blocks, to the mean depth of each block.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    mean = _mean_map(train)
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 7, 15)))
    blocks = _blocks(mean.shape)
    coarse = torch.nn.functional.adaptive_avg_pool2d(mean[None], blocks)[0]
    model.fit(_features(train), _coarse_depth(train, coarse))
    scores = {"mean_depth_cm": Depth("test"), "linear_cm": Depth("test")}
    predicted = torch.from_numpy(model.predict(_features(test))).reshape(-1, 1, *blocks).float()
    for i in range(len(test)):
        target = _depth(test, i)[None, None]
        fine = torch.nn.functional.interpolate(predicted[i : i + 1], target.shape[-2:])
        scores["mean_depth_cm"].update(mean[None, None], target)
        scores["linear_cm"].update(fine, target)
    return {name: metric.compute()["test/mde_cm"] for name, metric in scores.items()}


def _depth(dataset: DepthDataset, i: int) -> Tensor:
    k, m = dataset.items[i]
    return torch.from_numpy(np.array(dataset.flights[k].left_depth[m]))


def _mean_map(train: DepthDataset) -> Tensor:
    first = _depth(train, 0)
    total, count = torch.zeros_like(first), torch.zeros_like(first)
    for i in range(len(train)):
        depth = _depth(train, i)
        total += depth.nan_to_num(0)
        count += torch.isfinite(depth)
    everywhere = total.sum() / count.sum()
    return torch.where(count > 0, total / count.clamp_min(1), everywhere)


def _blocks(shape: torch.Size) -> tuple[int, int]:
    return min(BLOCKS[0], shape[0]), min(BLOCKS[1], shape[1])


def _features(dataset: DepthDataset) -> NDArray[np.float32]:
    rows = []
    for i in range(len(dataset)):
        k, m = dataset.items[i]
        views = torch.from_numpy(dataset._views(k, m)).flatten(0, 1)
        pooled = torch.nn.functional.adaptive_avg_pool2d(views, _blocks(views.shape[-2:]))
        rows.append(torch.log1p(pooled).flatten().numpy())
    return np.stack(rows)


def _coarse_depth(dataset: DepthDataset, fallback: Tensor) -> NDArray[np.float32]:
    """Return the mean known depth of each block [N, h w]; where none is known, the fallback."""
    pool = torch.nn.functional.adaptive_avg_pool2d
    size = (fallback.shape[0], fallback.shape[1])
    rows = []
    for i in range(len(dataset)):
        depth = _depth(dataset, i)[None]
        share = pool(torch.isfinite(depth).float(), size)
        mean = pool(depth.nan_to_num(0), size) / share.clamp_min(1e-6)
        rows.append(torch.where(share > 0, mean, fallback[None]).flatten().numpy())
    return np.stack(rows)
