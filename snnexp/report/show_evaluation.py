"""A later test of a run, for a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from snnexp.report.evaluation import Evaluation, cells, differences, shown_keys
from snnexp.report.record import Result
from snnexp.report.show import activity_table, not_the_benchmark, operations_table
from snnexp.report.units import baseline_figure, quantity


def show_evaluation(evaluation: Evaluation, result: Result, console: Console, folder: Path) -> None:
    """Print the figures beside the run's own, or over strengths; activity, cost, origin."""
    first = evaluation.points[0]
    single = len(evaluation.points) == 1
    parts: list[RenderableType | None] = [
        Text.assemble((evaluation.run, "bold"), f"  tested: {_what(evaluation)}"),
        _beside(evaluation, result) if single else _over_strengths(evaluation),
        activity_table(first.firing) if single and first.firing else None,
        operations_table(first.operations) if single and first.operations else None,
        _facts(evaluation, folder),
        not_the_benchmark(evaluation.data) if evaluation.data.kind != "real" else None,
    ]
    spaced = (line for part in parts if part is not None for line in (part, Text()))
    console.print(Group(*spaced))


def _what(evaluation: Evaluation) -> str:
    disturbance = evaluation.points[0].disturbance
    if disturbance.name == "none":
        return "undisturbed"
    swept = (evaluation.swept or "").removeprefix("corrupt.")
    arguments = (
        f"{k} {v}" for k, v in disturbance.arguments.items() if v is not None and k != swept
    )
    return f"{disturbance.name} ({', '.join(arguments)})"


def _beside(evaluation: Evaluation, result: Result) -> Table:
    """Figures here, the run's own with the same weights, and the difference."""
    metrics = evaluation.points[0].metrics
    keys = shown_keys(metrics)
    table = _table("test figure", "here")
    columns = [cells(metrics, keys)]
    own = {"best.ckpt": result.metrics.selected, "last.ckpt": result.metrics.last}
    if before := own.get(Path(evaluation.checkpoint.path).name):
        table.add_column("in the run", justify="right")
        table.add_column("difference", justify="right")
        columns += [cells(before, keys), differences(metrics, before, keys)]
    for row in zip(keys, *columns, strict=True):
        table.add_row(escape(row[0].removeprefix("test/")), *row[1:])
    for name, value in evaluation.baselines.items():
        key = baseline_figure(name, keys, evaluation.monitor)
        table.add_row(escape(name), quantity(value, key), style="dim")
    return table


def _over_strengths(evaluation: Evaluation) -> Table:
    main = f"test/{evaluation.monitor.split('/', 1)[-1]}"
    keys = [main, "test/loss", "test/rate"]
    table = _table(evaluation.swept or "", *(k.removeprefix("test/") for k in keys), "energy, nJ")
    for strength, point in zip(evaluation.strengths(), evaluation.points, strict=True):
        energy = f"{point.operations.energy_nj:,.1f}" if point.operations else ""
        table.add_row(str(strength), *cells(point.metrics, keys), energy)
    for name, value in evaluation.baselines.items():
        key = baseline_figure(name, evaluation.points[0].metrics, main)
        if key == main:
            table.add_row(escape(name), quantity(value, key), style="dim")
    return table


def _facts(evaluation: Evaluation, folder: Path) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    data, used = evaluation.data, evaluation.checkpoint
    facts = {
        "data": f"{data.variant}: {data.source} ({data.sizes.get('test', 0):,} test)",
        "weights": f"{used.path}, epoch {used.epoch + 1}, sha256 {used.sha256[:12]}",
        "trained at": f"commit {(evaluation.run_commit or 'unknown')[:10]}",
        "tested at": f"commit {(evaluation.code.commit or 'unknown')[:10]}"
        + (" with uncommitted changes" if evaluation.code.dirty else ""),
        "folder": str(folder),
    }
    for key, value in facts.items():
        table.add_row(Text(key, style="dim"), Text(value))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(escape(first), no_wrap=True, style="cyan")
    for name in others:
        table.add_column(escape(name), justify="right")
    return table
