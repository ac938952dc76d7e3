"""The plot of a sweep: lines or a heat map over one or two swept keys, error bars over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnexp.report.atomic import replacing
from snnexp.report.units import unit
from snnexp.sweep.figures import End, Setting, more_is_better

#: more lines than this in one plot cannot be told apart: a heat map is drawn instead
LINES = 6
#: settings shown where more than two keys are swept
RANKED = 30


def draw(settings: Sequence[Setting], file: Path) -> Path | None:
    """Draw the main figure of the settings that have one; None where none has.

    One swept key: its mean with error bars (sample standard deviation). Two: a line for each value
    of the second, or a heat map where the first is no number or the lines are too many. More: the
    best settings in order. None: a point a run. Settings of another main figure than the best
    one's are left out.
    """
    settings = [s for s in settings if s.scores]
    if not settings:
        return None
    metric = settings[0].metric
    settings = [s for s in settings if s.metric == metric]
    keys = list(dict.fromkeys(key for s in settings for key in s.varied))
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    whole = all(len(s.varied) == len(keys) for s in settings)
    if not keys:
        _points(axes, settings[0])
    elif len(keys) == 1 and whole:
        _line(axes, settings, keys[0], None)
    elif len(keys) == 2 and whole:
        _two(figure, axes, settings, keys)
    else:
        _ranked(axes, settings[:RANKED])
    axes.set_title(_label(metric), loc="left", fontsize="medium")
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=120)
    return file


def draw_course(ends: Sequence[End], file: Path) -> Path | None:
    """Draw the validation figure of a search's jobs in their order, and the best so far."""
    found = [(e.job.number, e.scores) for e in ends if e.scores and e.scores.chosen is not None]
    if not found:
        return None
    metric = found[0][1].chosen_by
    scale = 100 if unit(metric) == "%" else 1
    numbers = [number for number, _ in found]
    values = [scale * float(scores.chosen or 0.0) for _, scores in found]
    better = np.maximum if more_is_better(metric) else np.minimum
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(numbers, values, "o", label="a job")
    axes.step(numbers, better.accumulate(values), where="post", label="best so far")
    axes.set_xlabel("job")
    axes.set_title(_label(metric), loc="left", fontsize="medium")
    axes.legend(frameon=False)
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=120)
    return file


def _label(metric: str) -> str:
    return f"{metric}, {unit(metric)}" if unit(metric) else metric


def _mean(setting: Setting) -> tuple[float, float]:
    """Mean and sample standard deviation (0 of a single run), in the unit shown."""
    scale = 100 if unit(setting.metric) == "%" else 1
    values = [scale * value for value in setting.values()]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _numbers(values: Sequence[str]) -> list[float] | None:
    try:
        return [float(value) for value in values]
    except ValueError:
        return None


def _ordered(values: Sequence[str]) -> list[str]:
    """Distinct values, by size where all are numbers, else as they come."""
    distinct = list(dict.fromkeys(values))
    return distinct if _numbers(distinct) is None else sorted(distinct, key=float)


def _line(axes: Axes, settings: Sequence[Setting], key: str, label: str | None) -> None:
    by_value = {s.varied[key]: s for s in settings}
    values = _ordered([s.varied[key] for s in settings])
    means, spreads = zip(*(_mean(by_value[v]) for v in values), strict=True)
    numbers = _numbers(values)
    style = "o" if numbers is None else "o-"
    places = range(len(values)) if numbers is None else numbers
    axes.errorbar(places, means, spreads, fmt=style, capsize=3, label=label)
    if numbers is None:
        axes.set_xticks(range(len(values)), values)
    # values that span more than a power of ten are read on a logarithmic axis
    if numbers and min(numbers) > 0 and max(numbers) / min(numbers) > 10:
        axes.set_xscale("log")
    axes.set_xlabel(key)


def _two(figure: Figure, axes: Axes, settings: Sequence[Setting], keys: Sequence[str]) -> None:
    first, second = keys
    columns = _ordered([s.varied[first] for s in settings])
    rows = _ordered([s.varied[second] for s in settings])
    if _numbers(columns) is not None and len(rows) <= LINES:
        for row in rows:
            _line(axes, [s for s in settings if s.varied[second] == row], first, row)
        axes.legend(title=second, frameon=False)
        return
    cells = np.full((len(rows), len(columns)), np.nan)
    for s in settings:
        i, j = rows.index(s.varied[second]), columns.index(s.varied[first])
        cells[i, j], deviation = _mean(s)
        text = f"{cells[i, j]:.4g}" + (f"\n± {deviation:.2g}" if len(s.scores) > 1 else "")
        axes.text(j, i, text, ha="center", va="center", fontsize="small", color="white")
    # half of a light colour map: white text stays readable
    image = axes.imshow(cells, cmap="viridis", aspect="auto", vmax=_above(cells))
    figure.colorbar(image)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(first)
    axes.set_ylabel(second)


def _above(cells: np.ndarray) -> float:
    """The end of the colour scale: beyond the largest value, which then is not yellow."""
    low, high = float(np.nanmin(cells)), float(np.nanmax(cells))
    return high + 0.5 * (high - low or 1.0)


def _points(axes: Axes, setting: Setting) -> None:
    """A point a run, with the mean."""
    mean, deviation = _mean(setting)
    scale = 100 if unit(setting.metric) == "%" else 1
    seeds = [str(end.job.seed) for end in setting.ends if end.scores is not None]
    axes.plot(range(len(seeds)), [scale * v for v in setting.values()], "o")
    axes.set_xticks(range(len(seeds)), seeds)
    axes.axhline(mean, color="gray", linewidth=1)
    axes.axhspan(mean - deviation, mean + deviation, color="gray", alpha=0.2, linewidth=0)
    axes.set_xlabel("seed")


def _ranked(axes: Axes, settings: Sequence[Setting]) -> None:
    """The best settings, the best on top."""
    names = [" ".join(f"{k.split('.')[-1]}={v}" for k, v in s.varied.items()) for s in settings]
    means, spreads = zip(*map(_mean, settings), strict=True)
    axes.errorbar(means, range(len(settings)), xerr=spreads, fmt="o", capsize=3)
    axes.set_yticks(range(len(settings)), names, fontsize="x-small")
    axes.invert_yaxis()
