"""Pictures of depth: events, truth and prediction side by side, and a short film.

Letters: N frames, H W space.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snnexp.data.base import Predictions
from tasks.depth.frames import DepthDataset

ROWS = 5
FILM_FRAMES, FILM_MS = 60, 100
FILM_WIDTH = 240


def draw(
    dataset: DepthDataset, predictions: Predictions, order: Tensor, split: str, folder: Path
) -> list[Path]:
    """Write `<split>_depth.png` and `<split>_depth.gif`; `order` sorts the predictions in time."""
    known = np.isfinite(predictions.target.numpy())
    low, high = np.quantile(predictions.target.numpy()[known], (0.01, 0.99))
    still = folder / f"{split}_depth.png"
    _still(dataset, predictions, order, (float(low), float(high))).savefig(still, dpi=110)
    film = folder / f"{split}_depth.gif"
    start = max(0, (len(order) - FILM_FRAMES) // 2)
    images = [
        Image.fromarray(_strip(dataset, predictions, int(k), (float(low), float(high))))
        for k in order[start : start + FILM_FRAMES]
    ]
    images[0].save(film, save_all=True, append_images=images[1:], duration=FILM_MS, loop=0)
    return [still, film]


def _still(
    dataset: DepthDataset, predictions: Predictions, order: Tensor, limits: tuple[float, float]
) -> Figure:
    figure = Figure(figsize=(9, 1.75 * ROWS), layout="constrained")
    titles = ("events, left (ON red)", "true depth", "predicted depth", "error")
    axes = figure.subplots(ROWS, 4)
    for row, place in zip(axes, np.linspace(0, len(order) - 1, ROWS).astype(int), strict=True):
        k = int(order[place])
        true, guess = predictions.target[k, 0].numpy(), predictions.scores[k, 0].numpy()
        signed = _signed(dataset, int(predictions.index[k]))
        row[0].imshow(signed, cmap="bwr", vmin=-3, vmax=3, interpolation="nearest")
        for axis, depth in zip(row[1:3], (true, guess), strict=True):
            shown = axis.imshow(depth, cmap="viridis_r", vmin=limits[0], vmax=limits[1])
        wrong = row[3].imshow(np.abs(guess - true), cmap="magma", vmin=0, vmax=limits[1] / 3)
        row[3].set_xlabel(f"mean {100 * np.nanmean(np.abs(guess - true)):.0f} cm", fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.colorbar(shown, ax=axes[:, 2], shrink=0.4, label="m")
    figure.colorbar(wrong, ax=axes[:, 3], shrink=0.4, label="m")
    return figure


def _signed(dataset: DepthDataset, index: int) -> NDArray[np.float32]:
    """Return ON less OFF counts of the left camera, summed over the input's steps."""
    left = dataset[index]["input"][:, :2].sum(0).numpy()
    return left[0] - left[1]


def _strip(
    dataset: DepthDataset, predictions: Predictions, k: int, limits: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return one film frame: events, truth, prediction; unknown depth is grey."""
    signed = _signed(dataset, int(predictions.index[k]))
    parts = [matplotlib.colormaps["bwr"]((signed + 3) / 6)[..., :3]]
    colours = matplotlib.colormaps["viridis_r"].with_extremes(bad="0.5")
    for depth in (predictions.target[k, 0].numpy(), predictions.scores[k, 0].numpy()):
        scaled = np.ma.masked_invalid((depth - limits[0]) / (limits[1] - limits[0]))
        parts.append(colours(scaled)[..., :3])
    zoom = max(1, FILM_WIDTH // signed.shape[1])
    strip = np.concatenate([p.repeat(zoom, 0).repeat(zoom, 1) for p in parts], axis=1)
    return (255 * strip).astype(np.uint8)
