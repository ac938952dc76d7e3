"""Depth figures against plain NumPy on whole arrays, in any batching."""

import numpy as np
import pytest
import torch

from snnexp.metrics.depth import Depth


def maps(n=7, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.5, 8, (n, 1, 5, 6))
    target[rng.random(target.shape) < 0.4] = np.nan
    prediction = target + rng.normal(0, 0.6, target.shape)
    prediction[np.isnan(prediction)] = 3.0
    prediction[2, 0, 0] = -0.5
    target[2, 0, 0] = 1.0
    return prediction, target


def expected(prediction, target, fb, scale):
    frames = []
    square = []
    for p, g in zip(prediction, target, strict=True):
        k = ~np.isnan(g)
        p, g = p[k], g[k]
        d = np.abs(p - g)
        square.append(d**2)
        positive = p > 0
        ratio = np.where(positive, np.maximum(p / g, g / p), np.inf)
        disparity = np.abs(scale * fb / p - scale * fb / g)
        middle = np.sort(d)[(len(d) - 1) // 2]  # torch: the lower of two middles
        frames.append(
            [
                100 * d.mean(),
                100 * middle,
                np.abs(np.log(np.maximum(p, 0.01)) - np.log(g)).mean(),
                *[(ratio < 1.25**k).mean() for k in (1, 2, 3)],
                ((disparity < 1) & positive).mean(),
            ]
        )
    names = ["mde_cm", "median_cm", "log_error", "delta1", "delta2", "delta3", "1pa"]
    result = dict(zip(names, np.mean(frames, 0), strict=True))
    result["rmse_cm"] = 100 * np.sqrt(np.concatenate(square).mean())
    return result


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_figures(batch, scale):
    prediction, target = maps()
    metric = Depth("test", focal_baseline=19.9, disparity_scale=scale)
    for i in range(0, 7, batch):
        some = slice(i, i + batch)
        metric.update(torch.from_numpy(prediction[some]), torch.from_numpy(target[some]))
    got = metric.compute()
    for name, value in expected(prediction, target, 19.9, scale).items():
        assert got[f"test/{name}"] == pytest.approx(value, rel=1e-12), name


def test_mean_over_frames_not_over_pixels():
    target = torch.full((2, 1, 2, 2), torch.nan)
    target[0] = 1.0
    target[1, 0, 0, 0] = 1.0
    metric = Depth("val")
    metric.update(torch.stack([torch.full((1, 2, 2), 1.1), torch.full((1, 2, 2), 1.3)]), target)
    assert metric.compute()["val/mde_cm"] == pytest.approx(20.0, rel=1e-6)


def test_frames_without_depth_are_counted_and_left_out():
    prediction, target = maps()
    target[4] = np.nan
    metric = Depth("test", focal_baseline=19.9)
    metric.update(torch.from_numpy(prediction), torch.from_numpy(target))
    kept = [i for i in range(7) if i != 4]
    want = expected(prediction[kept], target[kept], 19.9, 1.0)
    got = metric.compute()
    assert got["test/mde_cm"] == pytest.approx(want["mde_cm"])
    assert got["test/frames_without_depth"] == 1


def test_the_last_of_several_predictions_counts():
    prediction, target = (torch.from_numpy(a) for a in maps())
    one, several = Depth("test"), Depth("test")
    one.update(prediction, target)
    several.update((prediction * 0, prediction), target)
    assert one.compute() == several.compute()
    assert "test/1pa" not in one.compute()


def test_nothing_known_is_an_error_and_reset_forgets():
    metric = Depth("test")
    metric.update(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    metric.reset()
    metric.update(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), torch.nan))
    with pytest.raises(ValueError, match="no frame with a known depth"):
        metric.compute()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="has shape"):
        Depth("test").update(torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2))
