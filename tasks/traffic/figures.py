"""The figure of the data: the mean histogram of each class.

Letters: K classes, T time bins, S size bins.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from tasks.traffic.baseline import CHUNK, Windows
from tasks.traffic.encode import BINS, SHIFT, SIZE_BINS, TIME_BINS
from tasks.traffic.labels import CATEGORIES, CLASSES, ENCRYPTIONS

TICKS = (100, 500, 1000, 1500)
#: time bins drawn as one: single packets of few windows are hard to see
POOL = 5


def mean_histograms(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean histogram of each class [K, T, S], and how many windows it has [K]."""
    total = np.zeros((len(CLASSES), TIME_BINS, SIZE_BINS))
    count = np.zeros(len(CLASSES), int)
    for low in range(0, len(windows), CHUNK):
        batch = windows.__getitems__(list(range(low, min(low + CHUNK, len(windows)))))
        target = batch["target"].numpy()
        np.add.at(total, target, batch["input"].numpy())
        count += np.bincount(target, minlength=len(CLASSES))
    return total / np.maximum(count, 1)[:, None, None], count


def class_means(windows: Windows, path: Path) -> Path:
    """Draw one panel a class: sizes over time, direction 1 above direction 0."""
    mean, count = mean_histograms(windows)
    figure = Figure(figsize=(3.2 * len(CATEGORIES), 8.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ENCRYPTIONS), len(CATEGORIES), squeeze=False)
    norm = LogNorm(1e-3, max(float(mean.max()), 1e-2))
    image = None
    for column, category in enumerate(CATEGORIES):
        for row, encryption in enumerate(ENCRYPTIONS):
            panel, name = axes[row, column], f"{category}_{encryption}"
            if name not in CLASSES:
                panel.set_axis_off()
                continue
            k = CLASSES.index(name)
            pooled = mean[k].reshape(-1, POOL, SIZE_BINS).mean(1)
            shown = np.where(pooled > 0, pooled, np.nan).T
            edges = (0, TIME_BINS, -0.5, SIZE_BINS - 0.5)
            image = panel.imshow(
                shown, norm=norm, aspect="auto", origin="lower", cmap="magma_r", extent=edges
            )
            panel.axhline(BINS[SHIFT] - 0.5, color="grey", lw=0.6)
            panel.set_title(f"{category} {encryption} ({count[k]})", fontsize=9)
            places = [*(BINS[t] for t in TICKS), *(BINS[SHIFT + t] for t in TICKS)]
            panel.set_yticks(places, [str(t) for t in TICKS * 2], fontsize=6)
            panel.set_xticks([0, TIME_BINS], ["0", f"{TIME_BINS} bins"], fontsize=7)
            if column == 0:
                panel.set_ylabel("bytes, direction 0 | 1", fontsize=8)
    if image is not None:
        figure.colorbar(image, ax=axes, label="packets a bin, mean over windows", shrink=0.6)
    figure.savefig(path, dpi=110)
    return path
