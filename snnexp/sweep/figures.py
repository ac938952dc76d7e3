"""What became of a sweep's jobs, gathered by setting: mean and spread over its repetitions."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from snnexp.assembly import MONITOR
from snnexp.report.collect import rows_of
from snnexp.report.history import per_epoch, read_history
from snnexp.report.record import Result
from snnexp.report.units import figure_name, quantity
from snnexp.sweep.folder import Status
from snnexp.sweep.jobs import Job

#: whether more of a figure that chooses an epoch is better
_MODES = dict(MONITOR.values())


@dataclass(frozen=True)
class Scores:
    """The figures of a complete run that a sweep compares.

    `metric` is the run's main figure, as in the results table. `chosen` is the validation figure
    of the epoch that was selected: settings are ranked by it, so that the test set chooses
    nothing; None where the protocol itself selects on the test set.
    """

    metric: str
    value: float
    chosen_by: str
    chosen: float | None
    data: str


@dataclass(frozen=True)
class End:
    """What became of a job; `taken`: from a run that was finished before this sweep began."""

    job: Job
    status: Status
    taken: bool = False
    run: str | None = None
    error: str | None = None
    scores: Scores | None = None


@dataclass(frozen=True)
class Setting:
    """The jobs that differ in nothing but what is repeated (the seed)."""

    varied: dict[str, str]
    ends: tuple[End, ...]

    @property
    def scores(self) -> list[Scores]:
        """The figures of its complete runs."""
        return [end.scores for end in self.ends if end.scores is not None]

    @property
    def metric(self) -> str:
        """The main figure of its runs; empty where none is complete."""
        return self.scores[0].metric if self.scores else ""

    def values(self) -> list[float]:
        """Return the main figure of each complete run."""
        return [s.value for s in self.scores]

    def chosen(self) -> list[float]:
        """Return the validation figure of each complete run; empty where the test set selects."""
        return [s.chosen for s in self.scores if s.chosen is not None]


def scores_of(result: Result, folder: Path) -> Scores:
    """Return the figures of a complete run that a sweep compares."""
    metric, value = _main(result)
    monitor, epoch = result.metrics.monitor, result.metrics.selected_epoch
    chosen = None
    if result.metrics.select_on == "val":
        chosen = float(per_epoch(read_history(folder), monitor).loc[epoch])
    data = result.data.kind if result.data else "sample"
    return Scores(metric, value, monitor, chosen, data)


def main_figure(result: Result) -> str:
    """Return `test/acc 94.5 %`: the figure of a complete run that tables show."""
    metric, value = _main(result)
    return f"{metric} {quantity(value, metric)}"


def _main(result: Result) -> tuple[str, float]:
    rows = rows_of(result)
    metric, of = rows[0].main_metric, rows[0].main_of
    value = next(row.value for row in rows if (row.metric, row.of) == (metric, of))
    assert value is not None  # rows of a figure have its value
    return metric, value


def more_is_better(metric: str) -> bool:
    """Return whether a figure is better the larger it is."""
    return _MODES.get(figure_name(metric), "max") == "max"


def settings_of(ends: Sequence[End], over: Collection[str]) -> list[Setting]:
    """Gather jobs by what they vary apart from the keys in `over`; best settings first.

    Settings rank by the mean of their validation figures, of their main figures where the test
    set selects. Those without a complete run come last.
    """
    groups: dict[tuple[tuple[str, str], ...], list[End]] = {}
    for end in ends:
        varied = tuple((k, v) for k, v in end.job.varied.items() if k not in over)
        groups.setdefault(varied, []).append(end)
    return sorted((Setting(dict(k), tuple(g)) for k, g in groups.items()), key=_rank)


def _rank(setting: Setting) -> tuple[bool, str, float]:
    values = setting.chosen() or setting.values()
    if not values:
        return True, "", 0.0
    sign = -1 if more_is_better(setting.scores[0].chosen_by) else 1
    return False, setting.metric, sign * statistics.fmean(values)


def last_line(error: str | None) -> str:
    """Return what a traceback ends with."""
    return error.strip().splitlines()[-1] if error and error.strip() else ""
