"""A sweep's end on the screen and as CSV: mean, spread and n a setting, best first; failures."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snnexp.report.atomic import replacing
from snnexp.report.settings import spread
from snnexp.sweep.figures import End, Setting, last_line

#: rows shown on the screen; the CSV has all
SHOWN = 30


def show_settings(settings: Sequence[Setting], over: Sequence[str], console: Console) -> None:
    """Print the table of settings and, below it, what has not ended well."""
    complete = [s for s in settings if s.scores]
    if complete:
        console.print(_table(complete[:SHOWN]))
        if over and any(len(s.scores) > 1 for s in complete):
            said = f"mean ± sample standard deviation over {', '.join(over)}"
            console.print(said, style="dim italic", markup=False)
        if len(complete) > SHOWN:
            console.print(f"and {len(complete) - SHOWN} more settings in settings.csv")
        if any(s.data != "real" for setting in complete for s in setting.scores):
            console.print(
                "Not the benchmark's data: these figures are not to be set beside a paper's.",
                style="yellow",
            )
    bad = [e for s in settings for e in s.ends if e.status not in ("complete", "pruned")]
    for end in sorted(bad, key=lambda end: end.job.number):
        console.print(_bad(end), soft_wrap=True)


def _table(settings: Sequence[Setting]) -> Table:
    keys = list(dict.fromkeys(key for s in settings for key in s.varied))
    ranked = any(s.chosen() for s in settings)
    by = settings[0].scores[0].chosen_by
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for key in keys:
        table.add_column(escape(key), overflow="fold")
    if ranked:
        table.add_column(escape(f"{by} (ranks)"), justify="right")
    metrics = {s.metric for s in settings}
    table.add_column(escape(metrics.pop()) if len(metrics) == 1 else "figure", justify="right")
    table.add_column("n", justify="right")
    several = len({s.metric for s in settings}) > 1
    for setting in settings:
        cells = [escape(_short(setting.varied.get(key, ""))) for key in keys]
        if ranked:
            cells.append(_mean(setting.chosen(), by))
        figure = _mean(setting.values(), setting.metric)
        cells.append(escape(f"{setting.metric} {figure}") if several else figure)
        n = len(setting.scores)
        cells.append(str(n) if n == len(setting.ends) else f"{n} of {len(setting.ends)}")
        table.add_row(*cells)
    return table


def _short(value: str) -> str:
    """Four digits of a number that a search has drawn; the CSV has all."""
    try:
        return value if len(value) <= 8 else f"{float(value):.4g}"
    except ValueError:
        return value


def _mean(values: Sequence[float], metric: str) -> str:
    """`94.5 ± 0.3 %`."""
    return spread(values, metric).partition(" (n")[0]


def _bad(end: End) -> str:
    why = end.job.problem or last_line(end.error)
    colour = "red" if end.status == "failed" else "yellow"
    text = f"[{colour}]{end.status}[/] job {end.job.number}: {escape(end.job.label)}"
    return f"{text}\n    {escape(why)}" if why and end.status == "failed" else text


def write_settings(file: Path, settings: Sequence[Setting]) -> None:
    """Write a row a setting: what it varies, figures, counts."""
    keys = list(dict.fromkeys(key for s in settings for key in s.varied))
    rows = []
    for s in settings:
        row: dict[str, Any] = {key: s.varied.get(key, "") for key in keys}
        row |= {"metric": s.metric, "n": len(s.scores), "jobs": len(s.ends)}
        for name, values in (("", s.values()), ("val_", s.chosen())):
            row[f"{name}mean"] = statistics.fmean(values) if values else ""
            row[f"{name}std"] = statistics.stdev(values) if len(values) > 1 else ""
        rows.append(row)
    _write(file, rows)


def write_jobs(file: Path, ends: Sequence[End]) -> None:
    """Write a row a job: what it varies, its end, its figures, its run's folder."""
    keys = list(dict.fromkeys(key for end in ends for key in end.job.varied))
    rows = []
    for end in ends:
        row: dict[str, Any] = {"job": end.job.number}
        row |= {key: end.job.varied.get(key, "") for key in keys}
        row |= {"status": end.status, "metric": "", "value": "", "val": ""}
        if end.scores:
            chosen = end.scores.chosen
            row |= {"metric": end.scores.metric, "value": end.scores.value}
            row["val"] = "" if chosen is None else chosen
        row["error"] = " ".join((end.job.problem or last_line(end.error)).split())
        row["run"] = end.run or ""
        rows.append(row)
    _write(file, rows)


def _write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
