"""Runs of one setting put together, and what is said of them: measured, claimed, verdict, cost."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snnexp.report.collect import Row
from snnexp.report.units import baseline_figure, number, quantity, unit

NONE = "–"
#: keys of a command that choose what is run, where and how shown: all others vary the setting
NO_VARIATION = frozenset(
    {"experiment", "task", "model", "data", "seed", "task.fold", "data_dir", "cache_dir",
     "output_dir", "name", "resume", "logger", "num_workers", "task.num_workers",
     "callbacks.progress.style", "trainer"}
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """All runs of one setting (a config without its seed and fold), on one kind of data.

    `runs` are the rows of the latest complete run of each seed and fold; `failed` is one row of
    each run that ended otherwise and was not completed later.
    """

    runs: tuple[tuple[Row, ...], ...]
    failed: tuple[Row, ...]

    @property
    def head(self) -> Row:
        """A row that says what all rows of the setting say; of the latest run."""
        rows = [run[0] for run in self.runs] or list(self.failed)
        return max(rows, key=lambda row: row.started)

    def values(self, of: str, metric: str) -> list[float]:
        """Return one figure of every run that has it, in order of seeds and folds."""
        return [
            row.value
            for run in self.runs
            for row in run
            if (row.of, row.metric) == (of, metric) and row.value is not None
        ]

    @property
    def main(self) -> list[float]:
        """The figure that tables show, of every run."""
        return self.values(self.head.main_of, self.head.main_metric)

    @property
    def rates(self) -> list[float]:
        """Mean firing rates of the epoch shown; of the selected one where that is a maximum."""
        of = "last" if self.head.main_of == "last" else "selected"
        return self.values(of, "test/rate")


def settings(rows: Iterable[Row]) -> list[Setting]:
    """Group rows by setting and kind of data: by paper, a strict protocol after its authors'."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row.run, []).append(row)
    groups: dict[tuple[str, str, str], list[list[Row]]] = {}
    for run in runs.values():
        groups.setdefault((run[0].name, run[0].data, run[0].setting), []).append(run)
    return sorted((_setting(group) for group in groups.values()), key=_order)


def _setting(runs: list[list[Row]]) -> Setting:
    latest: dict[tuple[int, int], list[Row]] = {}
    for run in sorted(runs, key=lambda run: run[0].started):
        if run[0].status == "complete":
            latest[_part(run[0])] = run
    failed = tuple(
        run[0]
        for run in runs
        if run[0].status != "complete"
        and not (_part(run[0]) in latest and latest[_part(run[0])][0].started > run[0].started)
    )
    return Setting(tuple(tuple(latest[part]) for part in sorted(latest)), failed)


def _part(row: Row) -> tuple[int, int]:
    """What tells runs of one setting apart: the seed and, in a cross-validation, the fold."""
    return row.seed, -1 if row.fold is None else row.fold


def _order(setting: Setting) -> tuple[str | bool, ...]:
    head = setting.head
    strict = head.name.endswith("_strict")
    return not head.paper, head.paper, head.name.removesuffix("_strict"), strict, head.setting


def variation(row: Row) -> str:
    """What the command changes beside the experiment (or task and model), its data and its seed.

    Two settings of one name differ in this.
    """
    words = [word for word in shlex.split(row.command) if "=" in word and not word.startswith("-")]
    return " ".join(word for word in words if word.lstrip("+").split("=")[0] not in NO_VARIATION)


def spread(values: Sequence[float], metric: str, counted: str = "") -> str:
    """Return `94.5 ± 0.3 % (n = 3)`: mean, sample standard deviation, number of runs.

    `counted` says more of the number, as in `(n = 10, folds 10 of 10)`.
    """
    if not values:
        return NONE
    mean = number(statistics.fmean(values), metric)
    deviation = f" ± {number(statistics.stdev(values), metric)}" if len(values) > 1 else ""
    return f"{mean}{deviation} {unit(metric)}".rstrip() + f" (n = {len(values)}{counted})"


def measured(setting: Setting) -> str:
    """Return the setting's figure with its spread, and how many folds it is the mean of."""
    held_out = {run[0].fold for run in setting.runs} - {None}
    counted = f", folds {len(held_out)} of {setting.head.folds}" if held_out else ""
    return spread(setting.main, setting.head.main_metric, counted)


def trivial(setting: Setting) -> str:
    """What trivial predictors reach in the figure shown, on average over the runs."""
    main = setting.head.main_metric
    rows = [row for run in setting.runs for row in run]
    metrics = {row.metric for row in rows if row.of in ("selected", "last")}
    names = dict.fromkeys(row.metric for row in rows if row.of == "baseline")
    levels = [
        f"{name} {quantity(statistics.fmean(values), main)}"
        for name in names
        if (values := setting.values("baseline", name))
        and baseline_figure(name, metrics, main) == main
    ]
    return ", ".join(levels) or NONE


def epoch(head: Row) -> str:
    """Which epoch the figure shown belongs to."""
    if head.main_of == "selected":
        return f"chosen on {head.select_on}"
    return {"last": "last", "max_over_epochs": "best on test"}[head.main_of]


def claim(metric: str, claimed: float | None, deviation: float | None) -> str:
    """Return what a paper claims, with its spread where it states one."""
    if claimed is None:
        return NONE
    shown = f" ± {number(deviation, metric)}" if deviation is not None else ""
    return f"{number(claimed, metric)}{shown} {unit(metric)}".rstrip()


def verdict(head: Row, values: Sequence[float]) -> str:
    """Whether |mean - claimed| <= tolerance, with the difference."""
    if head.claimed is None or not values:
        return NONE
    difference = statistics.fmean(values) - head.claimed
    shown = number(difference, head.main_metric, signed=True)
    if head.tolerance is None:
        return f"{shown} (no tolerance set)"
    within = "yes" if abs(difference) <= head.tolerance else "no"
    return f"{within}: {shown} (± {number(head.tolerance, head.main_metric)})"


def rate(setting: Setting) -> str:
    """Return the mean firing rate over runs."""
    return quantity(statistics.fmean(setting.rates), "test/rate") if setting.rates else NONE


def commits(setting: Setting) -> str:
    """Return the commits of the runs, each once."""
    return ", ".join(dict.fromkeys(commit(run[0]) for run in setting.runs))


def commit(row: Row) -> str:
    """Return a run's commit, with + where files had been changed."""
    return f"{row.commit[:7]}{'+' if row.dirty else ''}" if row.commit else "unknown"
