"""Pictures of a run, drawn from its files only: result.json, metrics.csv, raster.npz.

Figures are made without pyplot: no global state, no backend to choose, nothing to close.

Letters: T time, F feature, n positions, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from snnexp.report.atomic import replacing
from snnexp.report.history import HISTORY, per_epoch, read_history
from snnexp.report.record import Confusion, RecordError, Result, read_result
from snnexp.report.units import NAMES, baseline_figure, quantity, unit

RASTER = "raster.npz"
DPI = 160

#: Okabe and Ito's colours, told apart by colour-blind readers; yellow left out on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#767676"
#: layers that get a colour and a legend entry of their own; more are coloured by depth
NAMED_LAYERS = len(COLOURS)
#: panels of spikes in a raster figure
RASTER_LAYERS = 6


def draw_run(folder: Path, place: Path) -> list[Path]:
    """Draw what the run's files allow into `place` as PNG; return the paths.

    Learning curves and firing rates need metrics.csv, the confusion matrix a classification task,
    rasters raster.npz and raster_<name>.npz; what is not there is left out. Raises RecordError for
    a damaged file.
    """
    result = read_result(folder)
    figures: dict[str, Figure] = {}
    if (folder / HISTORY).is_file():
        history = read_history(folder)
        figures["curves"] = curves(history, result)
        if rate_keys(history):
            dt = result.firing.dt if result.firing else None
            figures["rates"] = rates(history, dt, _caption(result))
    if result.confusion:
        figures["confusion"] = confusion(result.confusion, _caption(result))
    for file in sorted(folder.glob("raster*.npz")):
        figures[file.stem] = raster(file, _caption(result))
    return [_save(figure, place / f"{name}.png") for name, figure in figures.items()]


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
    return path


def _caption(result: Result) -> str:
    """What data a figure is about: the reader of a picture has no result.json beside it."""
    kind = result.data.kind if result.data else "unknown"
    data = {"real": "", "excerpt": ", excerpt", "sample": ", sample data"}.get(kind, "")
    return f"{result.name}, seed {result.seed}{data}"


def curves(history: pd.DataFrame, result: Result) -> Figure:
    """Loss and the figure that selects, by epoch, in training and validation.

    The chosen epoch is marked, trivial predictors are drawn as levels (of the test set).
    """
    name = result.metrics.monitor.split("/", 1)[-1]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    second = "validation" if result.metrics.select_on == "val" else "test (selects the epoch)"
    for axes, key in ((left, "loss"), (right, name)):
        scale = 100 if unit(f"test/{key}") == "%" else 1
        for split, label, colour in (
            ("train", "training", COLOURS[0]),
            ("val", second, COLOURS[1]),
        ):
            values = per_epoch(history, f"{split}/{key}")
            axes.plot(
                values.index + 1, scale * values, "o-", color=colour, label=label, markersize=3.5
            )
        if result.metrics.selected_epoch is not None:
            chosen = result.metrics.selected_epoch + 1
            axes.axvline(chosen, color=GREY, linestyle=":", label=f"chosen epoch ({chosen})")
        _epochs(axes)
    left.set_ylabel("loss")
    scale = 100 if unit(f"test/{name}") == "%" else 1
    right.set_ylabel(f"{NAMES.get(name, name)}{', %' if scale == 100 else ''}")
    levels = {
        baseline: value
        for baseline, value in result.baselines.items()
        if baseline_figure(baseline, result.metrics.last, f"test/{name}") == f"test/{name}"
    }
    styles = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    for (baseline, value), style in zip(levels.items(), styles, strict=False):
        label = f"{baseline}, test ({quantity(value, f'test/{name}')})"
        right.axhline(scale * value, color=GREY, linestyle=style, linewidth=1, label=label)
    if scale == 100:
        right.set_ylim(0, 102)
    left.set_ylim(bottom=min(0, left.get_ylim()[0]))
    figure.legend(
        *_unique_labels(right), loc="outside lower center", ncols=3, frameon=False, fontsize=8
    )
    figure.suptitle(_caption(result), fontsize=10)
    return figure


def _unique_labels(axes: Axes) -> tuple[Sequence[Any], Sequence[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles, labels


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def rate_keys(history: pd.DataFrame, split: str = "val") -> list[str]:
    """Return the columns of the layers' firing rates, in order of execution."""
    return [str(key) for key in history if str(key).startswith(f"{split}/rate/")]


def rates(history: pd.DataFrame, dt: float | None, caption: str = "") -> Figure:
    """Validation firing rate of each layer by epoch, in % of steps, and in Hz where dt is known."""
    keys = rate_keys(history)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    many = len(keys) > NAMED_LAYERS
    depth = colormaps["viridis"]
    total = 100 * per_epoch(history, "val/rate")
    # a line of one epoch is nothing but its dot
    dot = "" if many and len(total) > 1 else "o"
    for i, key in enumerate(keys):
        values = 100 * per_epoch(history, key)
        colour = depth(i / (len(keys) - 1)) if many else COLOURS[i]
        label = None if many else key.split("/", 2)[2]
        axes.plot(values.index + 1, values, f"{dot}-", color=colour, label=label, markersize=3)
    grey = "black" if many else GREY
    axes.plot(
        total.index + 1, total, f"{dot}--", color=grey, label="all neurons", lw=2, markersize=3
    )
    axes.set_ylabel("firing rate, % of steps")
    axes.set_ylim(bottom=0)
    _epochs(axes)
    if dt:
        # 1 % of steps is 0.01 / dt spikes a second
        hz = axes.secondary_yaxis(
            "right",
            functions=(lambda p: np.divide(p, 100 * dt), lambda f: np.multiply(f, 100 * dt)),
        )
        hz.set_ylabel("firing rate, Hz")
    if many:
        scale = ScalarMappable(Normalize(1, len(keys)), depth)
        figure.colorbar(
            scale, ax=axes, label="spiking layer, from the input", pad=0.02,
            ticks=MaxNLocator(integer=True),
        )  # fmt: skip
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.set_title(f"{caption}\nfiring rate in validation".strip(), fontsize=10)
    return figure


def confusion(matrix: Confusion, caption: str = "") -> Figure:
    """Confusion matrix: colour and first number are shares of the row, the second is the count.

    Beyond 16 classes only the share is printed, beyond 40 nothing.
    """
    counts = np.asarray(matrix.counts, dtype=float)
    support = counts.sum(1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    k = len(matrix.classes)
    side = min(14.0, max(4.2, 0.52 * k + 1.6))
    figure = Figure(figsize=(side + 1.4, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(k), matrix.classes, rotation=90 if k > 6 else 0)
    rows = zip(matrix.classes, support[:, 0], strict=True)
    axes.set_yticks(range(k), [f"{name} ({n:.0f})" for name, n in rows])
    axes.set_xlabel("prediction")
    axes.set_ylabel("target (number of items)")
    if k <= 40:
        _print_cells(axes, shares, counts if k <= 16 else None)
    figure.colorbar(
        image, ax=axes, label="share of the row, %", shrink=0.8, pad=0.02,
        format=PercentFormatter(xmax=1, symbol=""),
    )  # fmt: skip
    accuracy = counts.trace() / counts.sum() if counts.sum() else float("nan")
    title = f"{matrix.split} accuracy {100 * accuracy:.1f} %"
    axes.set_title(f"{caption}\n{title}".strip(), fontsize=10)
    return figure


def _print_cells(axes: Axes, shares: np.ndarray, counts: np.ndarray | None) -> None:
    for i, j in zip(*np.nonzero(shares), strict=True):
        text = f"{100 * shares[i, j]:.0f}"
        if counts is not None:
            text += f"\n({counts[i, j]:.0f})"
        colour = "white" if shares[i, j] > 0.55 else "black"
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)


def raster(file: Path, caption: str = "") -> Figure:
    """One item's input above the spikes it causes, after the figure of Pellegrini et al. 2021.

    `file` (npz) holds `input` [F, T]; for each layer, in order, `spikes_<label>` [n, T'], not zero
    where a neuron fired; `title`; `dt` in seconds, 0 where a step has no duration. T' may differ
    from T by what padding adds. With `static` true, `input` is an image [H, W] without time; where
    all spikes are then of a single step, [h, w, 1], they are drawn as maps beside it. Of many
    layers some are shown, the first and the last among them.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as arrays:
            content = {key: arrays[key] for key in arrays.files}
        picture, title, dt = content["input"], str(content["title"]), float(content["dt"])
        static = bool(content.get("static", False))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise RecordError(f"{file}: not a raster file: {error}") from None
    spikes = {k.removeprefix("spikes_"): v for k, v in content.items() if k.startswith("spikes_")}
    shown = _some(spikes)
    if len(shown) < len(spikes):
        title += f"; {len(shown)} of {len(spikes)} spiking layers"
    title = f"{caption}: {title}".removeprefix(": ")
    if static and all(s.ndim == 3 for s in shown.values()):
        return _spike_maps(picture, shown, title)
    figure = Figure(figsize=(8, 2.2 + 1.35 * len(shown)), layout="constrained")
    panels = figure.subplots(
        1 + len(shown), 1, squeeze=False, height_ratios=[1.4] + [1] * len(shown)
    )[:, 0]
    over_time = panels[1:] if static else panels
    steps = [s.shape[1] for s in shown.values()] + ([] if static else [picture.shape[1]])
    step, label = _time_axis(dt, max(steps))
    _input(panels[0], picture, None if static else step)
    panels[0].set_title(title, fontsize=10)
    for axes, (name, fired) in zip(panels[1:], shown.items(), strict=True):
        _spikes(axes, fired, step)
        rate = 100 * np.count_nonzero(fired) / fired.size
        axes.set_title(f"{name.replace(' channel', ', channel')}: {rate:.1f} % of steps",
                       fontsize=8, loc="left", pad=2)  # fmt: skip
        axes.set_ylabel("position" if " channel" in name else "neuron")
    for axes in over_time:
        axes.set_xlim(0, step * max(steps))
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel(label)
    figure.align_ylabels(over_time)
    return figure


def _spike_maps(picture: np.ndarray, shown: Mapping[str, np.ndarray], title: str) -> Figure:
    """The input image and, of each layer, where one channel fired in the only step there is."""
    columns = 4
    rows = -(-(1 + len(shown)) // columns)
    high, wide = picture.shape
    size = (9, 0.5 + rows * (0.35 + 9 / columns * high / wide))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in panels:
        axes.set_axis_off()
    _input(panels[0], picture, None)
    panels[0].set_title("input", fontsize=8)
    for axes, (name, fired) in zip(panels[1:], shown.items(), strict=False):
        axes.imshow(fired[..., 0] > 0, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        share = 100 * np.count_nonzero(fired) / fired.size
        axes.set_title(f"{name.replace(' channel', ', channel')}\n{share:.1f} % fired", fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _input(axes: Axes, picture: np.ndarray, step: float | None) -> None:
    """Draw features over time, a step `step` long; or, without `step`, an image as it is."""
    low, high = np.percentile(picture, (1, 99.5))
    style: dict[str, Any] = {"interpolation": "nearest", "vmin": low, "vmax": max(high, low + 1e-9)}
    if step is None:
        axes.imshow(picture, cmap="gray", **style)
        axes.set_axis_off()
        return
    extent = (0, step * picture.shape[1], -0.5, len(picture) - 0.5)
    axes.imshow(picture, origin="lower", aspect="auto", cmap="magma", extent=extent, **style)
    axes.set_ylabel("input\nfeature")
    axes.spines[["top", "right"]].set_visible(False)


def _some(spikes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """At most RASTER_LAYERS layers, evenly spread, first and last included."""
    names = list(spikes)
    count = min(len(names), RASTER_LAYERS)
    chosen = np.linspace(0, len(names) - 1, count).round().astype(int)
    return {names[i]: spikes[names[i]] for i in chosen}


def _time_axis(dt: float, steps: int) -> tuple[float, str]:
    """The length of a step on the axis, and the axis' label."""
    if dt <= 0:
        return 1.0, "time step"
    return (1000 * dt, "time, ms") if dt * steps < 0.5 else (dt, "time, s")


def _spikes(axes: Axes, fired: np.ndarray, step: float) -> None:
    """Draw a stroke a spike, high enough to be seen and low enough to keep rows apart."""
    rows, times = np.nonzero(fired)
    height = float(np.clip(60 / max(1, len(fired)), 0.8, 6))  # points; a panel has about 60
    axes.scatter((times + 0.5) * step, rows, s=height**2, marker="|", color="black", linewidths=0.9)
    axes.set_ylim(-0.5, len(fired) - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.spines[["top", "right"]].set_visible(False)
