"""The README's results table, made of results.csv and never typed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snnexp.report.atomic import replacing
from snnexp.report.collect import Row
from snnexp.report.record import RecordError
from snnexp.report.units import baseline_figure, number, quantity, unit

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NONE = "–"


@dataclass(frozen=True)
class Setting:
    """All runs of one setting (a config without its seed), on one kind of data.

    `runs` are the rows of the latest complete run of each seed; `failed` is one row of each run
    that ended otherwise and was not completed later.
    """

    runs: tuple[tuple[Row, ...], ...]
    failed: tuple[Row, ...]

    @property
    def head(self) -> Row:
        """A row that says what all rows of the setting say; of the latest run."""
        rows = [run[0] for run in self.runs] or list(self.failed)
        return max(rows, key=lambda row: row.started)

    def values(self, of: str, metric: str) -> list[float]:
        """Return one figure of every run that has it, in order of seeds."""
        return [
            row.value
            for run in self.runs
            for row in run
            if (row.of, row.metric) == (of, metric) and row.value is not None
        ]


def settings(rows: Iterable[Row]) -> list[Setting]:
    """Group rows by setting and kind of data, in order of their names."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row.run, []).append(row)
    groups: dict[tuple[str, str, str], list[list[Row]]] = {}
    for run in runs.values():
        groups.setdefault((run[0].name, run[0].data, run[0].setting), []).append(run)
    return [_setting(groups[key]) for key in sorted(groups)]


def _setting(runs: list[list[Row]]) -> Setting:
    latest: dict[int, list[Row]] = {}
    for run in sorted(runs, key=lambda run: run[0].started):
        if run[0].status == "complete":
            latest[run[0].seed] = run
    failed = tuple(
        run[0]
        for run in runs
        if run[0].status != "complete"
        and not (run[0].seed in latest and latest[run[0].seed][0].started > run[0].started)
    )
    return Setting(tuple(tuple(latest[seed]) for seed in sorted(latest)), failed)


def spread(values: Sequence[float], metric: str) -> str:
    """Return `94.5 ± 0.3 % (n = 3)`: mean, sample standard deviation, number of seeds."""
    if not values:
        return NONE
    mean = number(statistics.fmean(values), metric)
    deviation = f" ± {number(statistics.stdev(values), metric)}" if len(values) > 1 else ""
    return f"{mean}{deviation} {unit(metric)}".rstrip() + f" (n = {len(values)})"


def results_table(rows: Iterable[Row]) -> str:
    """Return the markdown between the README's markers.

    Runs on a paper's data stand beside its claim; runs on sample data or on an excerpt stand in
    tables of their own, with trivial predictors instead of a claim. Failed runs come last.
    """
    everything = settings(rows)
    finished = [s for s in everything if s.runs]
    parts = ["_Made by `make table` from outputs/results.csv; do not edit._"]
    if real := [s for s in finished if s.head.data == "real"]:
        parts += [_table(_REAL, [_real_cells(s) for s in real])]
    if excerpt := [s for s in finished if s.head.data == "excerpt"]:
        parts += [
            "**On an excerpt of the real data** (not the benchmark, not to be compared with a "
            "paper's number):",
            _table(_OTHER, [_other_cells(s) for s in excerpt]),
        ]
    if sample := [s for s in finished if s.head.data == "sample"]:
        parts += [
            "**On sample data** (made by this repository; says nothing about a paper's number):",
            _table(_OTHER, [_other_cells(s) for s in sample]),
        ]
    if failed := [row for s in everything for row in s.failed]:
        parts += ["**Runs that did not finish:**", _table(_FAILED, [_failed(r) for r in failed])]
    if not everything:
        parts += ["No runs collected yet."]
    elif finished:
        parts += [
            "Mean ± standard deviation over n seeds. Figures belong to the epoch chosen on the "
            "validation set unless the column Epoch says otherwise. A commit with + had "
            "uncommitted changes."
        ]
    return "\n\n".join(parts)


_REAL = (
    "Paper", "Run", "Protocol", "Metric", "Epoch", "Claimed", "Measured", "Within tolerance",
    "Firing rate", "Commit",
)  # fmt: skip
_OTHER = ("Run", "Data", "Metric", "Epoch", "Measured", "Trivial", "Firing rate", "Commit")
_FAILED = ("Run", "Data", "Seed", "Status", "Why", "Commit")


def _real_cells(setting: Setting) -> list[str]:
    head = setting.head
    values = setting.values(head.main_of, head.main_metric)
    return [
        f"{head.title}, {head.table}" if head.paper else NONE,
        head.name,
        head.protocol or NONE,
        head.main_metric,
        _epoch(head),
        _claim(head),
        spread(values, head.main_metric),
        _verdict(head, values),
        _rate(setting),
        _commits(setting),
    ]


def _other_cells(setting: Setting) -> list[str]:
    head = setting.head
    data = f"{head.data}: {head.data_note}" if head.data_note else head.data
    return [
        head.name,
        data,
        head.main_metric,
        _epoch(head),
        spread(setting.values(head.main_of, head.main_metric), head.main_metric),
        _trivial(setting),
        _rate(setting),
        _commits(setting),
    ]


def _trivial(setting: Setting) -> str:
    """What trivial predictors reach in the figure shown, in the latest run."""
    main = setting.head.main_metric
    run = max(setting.runs, key=lambda run: run[0].started)
    metrics = [row.metric for row in run if row.of in ("selected", "last")]
    levels = [
        f"{row.metric} {quantity(row.value, main)}"
        for row in run
        if row.of == "baseline"
        and row.value is not None
        and baseline_figure(row.metric, metrics, main) == main
    ]
    return ", ".join(levels) or NONE


def _failed(row: Row) -> list[str]:
    why = row.error if len(row.error) <= 120 else f"{row.error[:119]}…"
    return [row.name, row.data, str(row.seed), row.status, why or NONE, _commit(row)]


def _epoch(head: Row) -> str:
    if head.main_of == "selected":
        return f"chosen on {head.select_on}"
    return {"last": "last", "max_over_epochs": "best on test"}[head.main_of]


def _claim(head: Row) -> str:
    if head.claimed is None:
        return NONE
    deviation = (
        f" ± {number(head.claimed_spread, head.main_metric)}"
        if head.claimed_spread is not None
        else ""
    )
    return f"{number(head.claimed, head.main_metric)}{deviation} {unit(head.main_metric)}".rstrip()


def _verdict(head: Row, values: Sequence[float]) -> str:
    """Whether |mean - claimed| <= tolerance, with the difference."""
    if head.claimed is None or not values:
        return NONE
    difference = statistics.fmean(values) - head.claimed
    shown = number(difference, head.main_metric, signed=True)
    if head.tolerance is None:
        return f"{shown} (no tolerance set)"
    verdict = "yes" if abs(difference) <= head.tolerance else "no"
    return f"{verdict}: {shown} (± {number(head.tolerance, head.main_metric)})"


def _rate(setting: Setting) -> str:
    """The mean firing rate of the epoch shown; of the selected one where that is a maximum."""
    of = "last" if setting.head.main_of == "last" else "selected"
    values = setting.values(of, "test/rate")
    return quantity(statistics.fmean(values), "test/rate") if values else NONE


def _commits(setting: Setting) -> str:
    return ", ".join(dict.fromkeys(_commit(run[0]) for run in setting.runs))


def _commit(row: Row) -> str:
    return f"{row.commit[:7]}{'+' if row.dirty else ''}" if row.commit else "unknown"


def _table(header: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_escape(c) for c in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(cell: str) -> str:
    """Keep a cell one cell, and its text text."""
    plain = " ".join(cell.split()).replace("&", "&amp;").replace("<", "&lt;")
    return plain.replace("|", "\\|")


def rewritten(readme: Path, table: str) -> str:
    """Return the README's text with `table` between its markers; RecordError without them."""
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RecordError(
            f"{readme}: expected the line {BEGIN} once and after it the line {END} once; "
            "the table goes between them"
        )
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def write_table(readme: Path, rows: Iterable[Row]) -> bool:
    """Put the table of `rows` into the README atomically; return whether that changed it."""
    text = rewritten(readme, results_table(rows))
    if text == readme.read_text(encoding="utf-8"):
        return False
    with replacing(readme) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True
