"""The README's results table, made of results.csv and never typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from snnexp.report.atomic import replacing
from snnexp.report.collect import Row
from snnexp.report.record import RecordError
from snnexp.report.settings import (
    NONE,
    Setting,
    claim,
    commit,
    commits,
    epoch,
    measured,
    rate,
    settings,
    trivial,
    variation,
    verdict,
)

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def results_table(rows: Iterable[Row]) -> str:
    """Return the markdown between the README's markers.

    Runs on a paper's data stand beside its claim; other runs on real data, on an excerpt or on
    sample data stand in tables of their own, with trivial predictors instead of a claim. Failed
    runs come last. What says nothing about a paper is folded.
    """
    everything = settings(rows)
    finished = [s for s in everything if s.runs]
    parts = ["_Made by `make table` from outputs/results.csv; do not edit._"]
    real = [s for s in finished if s.head.data == "real"]
    if papers := [s for s in real if s.head.paper]:
        parts += [
            "**On the papers' data**; a strict protocol stands below its authors':",
            _table(_PAPER, [_paper_cells(s) for s in papers]),
        ]
    if others := [s for s in real if not s.head.paper]:
        parts += [
            "**On real data, without a paper's claim**:",
            _table(_REAL, [_noted_cells(s) for s in others]),
        ]
    if excerpt := [s for s in finished if s.head.data == "excerpt"]:
        parts += [
            "**On an excerpt of the real data** (not the benchmark, not to be compared with a "
            "paper's number):",
            _table(_EXCERPT, [_noted_cells(s) for s in excerpt]),
        ]
    if sample := [s for s in finished if s.head.data == "sample"]:
        parts += _folded(
            "<b>On sample data</b> (made by this repository; says nothing about a paper's "
            f"number): {_count(sample, 'setting')}",
            _table(_SAMPLE, [_sample_cells(s) for s in sample]),
        )
    if failed := [row for s in everything for row in s.failed]:
        parts += _folded(
            f"<b>Runs that did not finish</b>: {len(failed)}",
            _table(_FAILED, [_failed(r) for r in failed]),
        )
    if not everything:
        parts += ["No runs collected yet."]
    elif finished:
        parts += [
            "Mean ± standard deviation over n runs, which differ in their seed or in the fold of a "
            "cross-validation. Figures belong to the epoch chosen on the "
            "validation set unless the column Epoch says otherwise. A commit with + had "
            "uncommitted changes."
        ]
    return "\n\n".join(parts)


def _folded(summary: str, table: str) -> list[str]:
    return [f"<details>\n<summary>{summary}</summary>", table, "</details>"]


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


_PAPER = (
    "Paper", "Run", "Protocol", "Metric", "Epoch", "Claimed", "Measured", "Within tolerance",
    "Firing rate", "Commit",
)  # fmt: skip
_SAMPLE = ("Run", "Metric", "Epoch", "Measured", "Trivial", "Firing rate", "Commit")
_EXCERPT = ("Run", "Excerpt", *_SAMPLE[1:])
_REAL = ("Run", "Caution", *_SAMPLE[1:])
_FAILED = ("Run", "Data", "Seed", "Status", "Why", "Commit")


def _paper_cells(setting: Setting) -> list[str]:
    head = setting.head
    return [
        f"{head.title}, {head.table}",
        _run(head),
        head.protocol or NONE,
        head.main_metric,
        epoch(head),
        claim(head.main_metric, head.claimed, head.claimed_spread),
        measured(setting),
        verdict(head, setting.main),
        rate(setting),
        commits(setting),
    ]


def _sample_cells(setting: Setting) -> list[str]:
    head = setting.head
    return [
        _run(head),
        head.main_metric,
        epoch(head),
        measured(setting),
        trivial(setting),
        rate(setting),
        commits(setting),
    ]


def _noted_cells(setting: Setting) -> list[str]:
    name, *rest = _sample_cells(setting)
    return [name, setting.head.data_note or NONE, *rest]


def _run(head: Row) -> str:
    """The run's name, and what its command changes."""
    changed = variation(head)
    return f"{head.name}, {changed}" if changed else head.name


def _failed(row: Row) -> list[str]:
    why = row.error if len(row.error) <= 120 else f"{row.error[:119]}…"
    return [_run(row), row.data, str(row.seed), row.status, why or NONE, commit(row)]


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
