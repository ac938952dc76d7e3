"""Draw what `bench_scaling` recorded: time and memory against T, N and the batch, from the csv.

    python -m scripts.draw_scaling outputs/bench.csv outputs/figures/scaling.svg

The rows of the last recorded run are drawn and no others; the suffix of the figure (svg, png,
pdf) says its kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from scripts.bench_record import read
from snnexp.report.atomic import replacing

#: how the `what` of a row begins, by what varies
BY_T = "lif forward+backward against T"
BY_N = "lif forward+backward against N"
BY_BATCH = "training step against batch: "

KINDS = ("svg", "png", "pdf")
Line = dict[str, str]


@dataclass(frozen=True)
class Look:
    """How the line of a provider is drawn; colours are told apart by the colour-blind, too."""

    label: str
    color: str
    marker: str
    width: float = 1.2
    dashes: str = "-"


#: in the order of the legend
LOOKS = {
    "snnexp": Look("snnexp", "#0072B2", "o", 2.4),
    "cpu": Look("snnexp", "#0072B2", "o", 2.4),
    "spikingjelly": Look("SpikingJelly", "#D55E00", "s", 2.0),
    "reference": Look("plain torch loop", "#555555", "", 1.6, "--"),
    "snntorch": Look("snnTorch", "#009E73", "^"),
    "norse": Look("Norse", "#CC79A7", "v"),
    "sinabs": Look("sinabs", "#E69F00", "D"),
}


@dataclass(frozen=True)
class Column:
    """One column of the figure: which rows, what is on its axis, and how it is headed."""

    begins: str
    x: str
    label: str
    title: Callable[[Line], str]


COLUMNS = (
    Column(BY_T, "t", "steps T", lambda row: f"LIF layer\nN = {int(row['n']):,}"),
    Column(BY_N, "n", "neurons N", lambda row: f"LIF layer\nT = {row['t']}"),
    Column(BY_BATCH, "n", "batch", lambda row: f"training step\n{_net(row)}, T = {row['t']}"),
)
#: column of the csv, factor to the unit shown, label
FIGURES = (("ms", 1.0, "time (ms)"), ("peak_bytes", 2.0**-20, "peak memory (MiB)"))


def _net(row: Line) -> str:
    return row["what"].removeprefix(BY_BATCH)


def last_run(path: Path) -> list[Line]:
    """Return the rows that the last recorded run of `bench_scaling` wrote, the last of each place.

    Raises ValueError where there is none, and for a file that is no csv of benchmarks.
    """
    ours = tuple(column.begins for column in COLUMNS)
    rows = [row for row in read(path) if row["what"].startswith(ours)]
    if not rows:
        raise ValueError(
            f"{path} has no row of scripts.bench_scaling; record some by "
            f"python -m scripts.bench_scaling --record {path}"
        )
    same = ("date", "commit", "command", "device", "threads")
    run = [row for row in rows if all(row[key] == rows[-1][key] for key in same)]
    place = ("what", "n", "t", "provider")
    return list({tuple(row[key] for key in place): row for row in run}.values())


def draw(rows: Sequence[Line], file: Path) -> None:
    """Draw two rows of panels, time and memory, on logarithmic axes, with one legend.

    Raises ValueError for a provider without a look, and for a kind of figure that is not known.
    """
    if file.suffix[1:] not in KINDS:
        raise ValueError(f"{file} ends in '{file.suffix}', expected one of .{', .'.join(KINDS)}")
    unknown = sorted({row["provider"] for row in rows} - LOOKS.keys())
    if unknown:
        raise ValueError(f"no line is described for {unknown} in LOOKS of scripts/draw_scaling.py")
    columns = [c for c in COLUMNS if any(row["what"].startswith(c.begins) for row in rows)]
    # a fixed salt: the same rows give the same file
    with mpl.rc_context({"font.size": 11, "svg.hashsalt": "scaling"}):
        figure = Figure(figsize=(2.7 * len(columns) + 0.6, 6.2), layout="constrained")
        grid = figure.subplots(len(FIGURES), len(columns), squeeze=False)
        for k, column in enumerate(columns):
            drawn = [row for row in rows if row["what"].startswith(column.begins)]
            grid[0][k].set_title(column.title(drawn[0]), fontsize="medium")
            for axes, (figure_of, factor, label) in zip(grid[:, k], FIGURES, strict=True):
                _panel(axes, drawn, column.x, figure_of, factor)
                axes.set_ylabel(label if k == 0 else "")
            grid[-1][k].set_xlabel(column.label)
        lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        order = [look.label for look in LOOKS.values() if look.label in lines]
        handles = [lines[label] for label in dict.fromkeys(order)]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
        figure.supxlabel(_origin(rows[-1]), fontsize=7, color="#555555")
        with replacing(file) as temporary:
            figure.savefig(
                temporary, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None
            )


def _panel(axes: Axes, rows: Sequence[Line], x: str, of: str, factor: float) -> None:
    for provider, look in reversed(LOOKS.items()):
        points = sorted(
            (int(row[x]), factor * float(row[of]))
            for row in rows
            if row["provider"] == provider and row[of]
        )
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=look.color,
                marker=look.marker,
                markersize=4,
                linewidth=look.width,
                linestyle=look.dashes,
                label=look.label,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    places = sorted({int(row[x]) for row in rows})
    # powers of two are named where they are few: of eight every other one
    if places[-1] < 1_000:
        axes.xaxis.set_major_locator(FixedLocator(places[:: 1 + len(places) // 6]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if high / low > 10 else (1, 2, 3, 5))
        )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _origin(row: Line) -> str:
    changed = " with uncommitted changes" if row["dirty"] == "True" else ""
    commit = f"commit {row['commit'][:10]}{changed}" if row["commit"] else "commit unknown"
    return (
        f"{row['threads']} threads of {row['device']}, float32, torch {row['torch']}, "
        f"{commit}, {row['date']}"
    )


def main() -> None:
    """Draw the figure of the last recorded run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("csv", type=Path, help="what bench_scaling --record wrote to")
    parser.add_argument("figure", type=Path, help=f"file to write: {', '.join(KINDS)}")
    options = parser.parse_args()
    try:
        draw(last_run(options.csv), options.figure)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print(f"drawn: {options.figure}")


if __name__ == "__main__":
    main()
