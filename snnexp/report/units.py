"""How figures are written for people: shares in %, depth errors in cm, others as they are."""

from __future__ import annotations

import math
from collections.abc import Iterable

#: figures in [0, 1] that are read as percentages, by the second part of their key; so is every
#: kind of accuracy (`balanced_acc`, `acc_ties_right`)
SHARES = frozenset(
    {"recall", "sensitivity", "specificity", "precision", "top5", "rate", "dead"}
    | {"delta1", "delta2", "delta3", "1pa", "1pa_x7", "part_rate"}
)

#: names of figures on axes
NAMES = {
    "acc": "accuracy",
    "acc_ties_right": "accuracy (ties right)",
    "balanced_acc": "balanced accuracy",
    "mde_cm": "mean depth error, cm",
}


def figure_name(metric: str) -> str:
    """`test/recall/yes` -> `recall`; `chance` -> `chance`."""
    parts = metric.split("/")
    return parts[1] if len(parts) > 1 else parts[0]


def unit(metric: str) -> str:
    """Return the unit a figure is shown in: `%`, `cm` or nothing."""
    name = figure_name(metric)
    if name in SHARES or "acc" in name.split("_"):
        return "%"
    return "cm" if name.endswith("_cm") else ""


def baseline_figure(name: str, metrics: Iterable[str], main: str) -> str:
    """Return the metric key a trivial predictor's value belongs to.

    It is `main`, unless the name ends in the name of another figure of the run: with `test/auc`
    among `metrics`, `linear_auc` belongs to `test/auc`.
    """
    endings = [key for key in metrics if name.endswith(f"_{figure_name(key)}")]
    return max(endings, key=len, default=main)


def number(value: float, metric: str, signed: bool = False) -> str:
    """Return a figure in its unit, without the unit: one decimal for %, else four digits."""
    sign = "+" if signed else ""
    if math.isfinite(value) and unit(metric) == "%":
        return f"{100 * value:{sign}.1f}"
    return f"{value:{sign}.4g}"


def quantity(value: float, metric: str) -> str:
    """Return a figure with its unit: `94.5 %`."""
    return f"{number(value, metric)} {unit(metric)}".rstrip()


def duration(seconds: float) -> str:
    """Return a time as people say it: `48 s`, `5 min 20 s`, `3 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(n_bytes: float) -> str:
    """Return a size in binary units: `526 KiB`."""
    for name in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {name}" if n_bytes < 1000 else f"{n_bytes:.0f} {name}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} GiB"
