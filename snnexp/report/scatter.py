"""A scatter plot of firing rate against the figure of a task, as numbers for an inline SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from matplotlib.ticker import MaxNLocator

from snnexp.report.settings import Setting
from snnexp.report.units import NAMES, figure_name, quantity, unit

WIDTH, HEIGHT = 480, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 18, 14, 48


@dataclass(frozen=True)
class Tick:
    """A tick of an axis: its place in the picture, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Point:
    """A setting in the picture: its number in the legend, its place, and its figures as text."""

    number: int
    x: float
    y: float
    name: str
    text: str


@dataclass(frozen=True)
class Scatter:
    """All that the SVG shows; lengths are in its own units."""

    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def scatters(settings: Iterable[Setting]) -> list[Scatter]:
    """Return a plot for each unit of main figures (%, cm), of the settings that have a rate."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.rates and setting.main:
            groups.setdefault(unit(setting.head.main_metric), []).append(setting)
    return [_scatter(group, measure) for measure, group in groups.items()]


def _scatter(settings: list[Setting], measure: str) -> Scatter:
    scale = 100 if measure == "%" else 1
    xs = [100 * fmean(s.rates) for s in settings]
    ys = [scale * fmean(s.main) for s in settings]
    x_values = MaxNLocator(6).tick_values(0, max(xs) * 1.08 or 1)
    spread = max(max(ys) - min(ys), 0.02 * abs(max(ys)), 1e-9)
    y_values = MaxNLocator(6).tick_values(min(ys) - 0.1 * spread, max(ys) + 0.1 * spread)
    if measure == "%":  # no axis goes on where no share can be
        x_values, y_values = ([v for v in w if 0 <= v <= 100] for w in (x_values, y_values))
    x_low, x_high = float(x_values[0]), float(x_values[-1])
    y_low, y_high = float(y_values[0]), float(y_values[-1])

    def across(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - RIGHT - LEFT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - BOTTOM - TOP)

    names = dict.fromkeys(figure_name(s.head.main_metric) for s in settings)
    points = tuple(
        Point(i, round(across(x), 1), round(up(y), 1), s.head.name, _text(s))
        for i, (s, x, y) in enumerate(zip(settings, xs, ys, strict=True), start=1)
    )
    return Scatter(
        "mean firing rate, % of steps",
        ", ".join(
            [*(NAMES.get(name, name) for name in names), *([measure] if measure == "%" else [])]
        ),
        tuple(Tick(round(across(float(v)), 1), f"{v:g}") for v in x_values),
        tuple(Tick(round(up(float(v)), 1), f"{v:g}") for v in y_values),
        points,
    )


def _text(setting: Setting) -> str:
    metric = setting.head.main_metric
    rate = quantity(fmean(setting.rates), "test/rate")
    return f"{quantity(fmean(setting.main), metric)} at {rate} of steps"
