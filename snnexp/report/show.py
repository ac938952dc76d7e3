"""One run, or the difference of two, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from snnexp.report.record import Data, Firing, Operations, Result
from snnexp.report.units import baseline_figure, duration, figure_name, number, quantity, size


def show(result: Result, console: Console, folder: Path | None = None) -> None:
    """Print what a person asks first of a run: outcome, activity, cost, origin, in this order.

    `folder` is where the run's files are. The last line says if these were not the benchmark's
    data.
    """
    console.print(_summary(result, folder))


def _summary(result: Result, folder: Path | None) -> RenderableType:
    head = _headline(result)
    if result.error:
        head.append(f"\n{result.error.strip().splitlines()[-1]}", style="red")
    parts: list[RenderableType | None] = [
        head,
        _metrics(result),
        activity_table(result.firing) if result.firing else None,
        operations_table(result.operations) if result.operations else None,
        _facts(result, folder),
        not_the_benchmark(result.data) if result.data and result.data.kind != "real" else None,
    ]
    spaced = (line for part in parts if part is not None for line in (part, Text()))
    return Group(*spaced)


def _headline(result: Result) -> Text:
    colour = {"complete": "green", "running": "yellow"}.get(result.status, "red")
    status = "running (or killed)" if result.status == "running" else result.status
    return Text.assemble((result.id, "bold"), "  ", (status, colour))


def _metrics(result: Result) -> Table | None:
    """Test figures of the selected and the last epoch, with the claim and trivial predictors."""
    metrics, paper = result.metrics, result.paper
    chosen = f"chosen on {metrics.select_on}"
    if metrics.selected_epoch is not None:
        chosen += f" (epoch {metrics.selected_epoch + 1})"
    columns = {chosen: metrics.selected, "last epoch": metrics.last}
    if metrics.max_over_epochs is not None:
        columns["best over epochs"] = metrics.max_over_epochs
    # a claim stands only beside figures on the paper's own data
    if paper and paper.claimed is not None and result.data and result.data.kind == "real":
        columns["claimed"] = {paper.metric: paper.claimed}
    columns = {title: _without_firing(figures) for title, figures in columns.items()}
    keys = dict.fromkeys(key for figures in columns.values() for key in figures)
    # figures of single classes stay in result.json: a summary fits a screen
    tested = [key for key in keys if key.startswith("test/") and not _of_one_class(key)]
    if not tested:
        return None
    table = _table("test figure", *columns)
    for key in tested:
        cells = [quantity(f[key], key) if key in f else "" for f in columns.values()]
        table.add_row(escape(key.removeprefix("test/")), *cells)
    for name, value in result.baselines.items():
        key = baseline_figure(name, tested, metrics.monitor)
        table.add_row(escape(name), quantity(value, key), style="dim")
    return table


def _of_one_class(key: str) -> bool:
    return "/recall/" in key or "_vs_all_" in key


def _without_firing(figures: Mapping[str, float]) -> dict[str, float]:
    """Firing has a table of its own."""
    return {k: v for k, v in figures.items() if figure_name(k) not in ("rate", "dead")}


def activity_table(firing: Firing) -> Table:
    """Return how much each layer fired."""
    table = _table("layer", "rate, % of steps", "rate, Hz", "never fired, %", "neurons")
    for name, layer in [*firing.layers.items(), ("all", firing.total)]:
        table.add_row(
            escape(name),
            f"{100 * layer.rate:.2f}",
            "–" if layer.hz is None else f"{layer.hz:.3g}",
            f"{100 * layer.dead:.1f}",
            f"{layer.neurons:,}",
        )
    return table


def operations_table(operations: Operations) -> Table:
    """Return what each layer computed, with the energy that stands for."""
    item = "a sample"
    table = _table(
        f"operations {item}", "kind", "effective", "dense", "zero inputs, %", "energy, nJ"
    )
    for name, layer in operations.layers.items():
        table.add_row(
            escape(name),
            layer.kind.upper(),
            f"{layer.effective:,.0f}",
            f"{layer.dense:,.0f}",
            f"{100 * layer.input_sparsity:.1f}",
            f"{layer.energy_nj:,.1f}",
        )
    effective = operations.effective_macs + operations.effective_acs
    table.add_row(
        "all", "", f"{effective:,.0f}", f"{operations.dense:,.0f}", "",
        f"{operations.energy_nj:,.1f}", style="bold",
    )  # fmt: skip
    table.caption = escape(operations.energy_formula)
    if operations.uncounted:
        table.caption += escape(f". Not counted: {', '.join(operations.uncounted)}")
    return table


def _facts(result: Result, folder: Path | None) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=30)
    table.add_column(overflow="fold")
    data, env, cost = result.data, result.environment, result.cost
    facts: dict[str, str] = {}
    if data:
        sizes = ", ".join(f"{n:,} {split}" for split, n in data.sizes.items())
        facts["data"] = f"{data.variant}: {data.source} ({sizes})"
        facts |= {f"  {key}": str(value) for key, value in data.notes.items()}
        if data.caution:
            facts["  caution"] = data.caution
    if result.size:
        facts["network"] = (
            f"{result.size.parameters:,} parameters, {size(result.size.footprint_bytes)}"
        )
    facts["time"] = duration(result.wall_s)
    if cost and cost.epoch_s is not None:
        facts["time"] += f", {duration(cost.epoch_s)} an epoch, {cost.epochs} epochs"
    if cost:
        facts["peak memory"] = size(cost.peak_memory_bytes)
    machine = f"{env.gpu or env.cpu}, CPU threads: {env.threads}, backend {env.backend}"
    facts["machine"] = f"{machine}, {env.precision}"
    if env.world_size > 1:
        facts["machine"] += f"; {env.world_size} processes like this"
    commit = result.code.commit
    facts["code"] = (
        f"commit {commit[:10]}{' with uncommitted changes' if result.code.dirty else ''}"
        if commit
        else "not in a git repository"
    )
    facts["command"] = " ".join(result.command)
    if folder is not None:
        facts["folder"] = str(folder)
    for key, value in facts.items():
        table.add_row(Text(key, style="dim"), Text(value))
    return table


def not_the_benchmark(data: Data) -> Text:
    """Return the warning below figures that no paper's may be set beside."""
    what = "sample data, made by this repository" if data.kind == "sample" else data.excerpt
    text = f"These are not the benchmark's data: {what}."
    return Text(f"{text} {data.real_data}".strip(), style="yellow")


def compare(a: Result, b: Result, console: Console, every: bool = False) -> None:
    """Print what differs between two runs: origin, config, figures, firing rates, cost.

    Figures of single classes are counted only, unless `every` is true.
    """
    console.print(Text.assemble("A  ", (a.id, "bold"), "\nB  ", (b.id, "bold")))
    sections = {
        "run": (_origin(a), _origin(b)),
        "config": (dict(_flat(a.config)), dict(_flat(b.config))),
    }
    for title, sides in sections.items():
        console.print(_differences(title, *sides))
    for of in ("selected", "last", "max_over_epochs"):
        left, right = (_without_firing(getattr(r.metrics, of) or {}) for r in (a, b))
        if left or right:
            console.print(_figures(f"figures, {of}", left, right, every))
    console.print(_figures("firing and cost", _costs(a), _costs(b), every))


def _origin(result: Result) -> dict[str, Any]:
    env = result.environment
    return {
        "status": result.status,
        "commit": result.code.commit,
        "uncommitted changes": result.code.dirty,
        "data": result.data.kind if result.data else None,
        **dict(_flat(env.model_dump())),
        **({f"size of {k}": v for k, v in result.data.sizes.items()} if result.data else {}),
    }


def _costs(result: Result) -> dict[str, float]:
    costs: dict[str, float] = {}
    if result.firing:
        populations = {**result.firing.layers, "all": result.firing.total}
        costs |= {f"test/rate/{name}": layer.rate for name, layer in populations.items()}
        costs |= {f"test/dead/{name}": layer.dead for name, layer in populations.items()}
    if result.operations:
        for key in ("effective_macs", "effective_acs", "energy_nj"):
            costs[key] = getattr(result.operations, key)
    if result.size:
        costs["parameters"] = result.size.parameters
    return costs | {"wall_s": result.wall_s}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping by dotted key; lists are leaves."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _differences(title: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> RenderableType:
    missing = object()
    keys = [k for k in {**a, **b} if a.get(k, missing) != b.get(k, missing)]
    if not keys:
        return Text(f"{title}: no difference", style="dim")
    table = _table(title, "A", "B", justify="left")
    for key in keys:
        cells = (escape(str(side[key])) if key in side else "–" for side in (a, b))
        table.add_row(escape(key), *cells)
    return table


def _figures(
    title: str, a: Mapping[str, float], b: Mapping[str, float], every: bool
) -> RenderableType:
    """Figures that differ; below them how many do not, or are of single classes."""
    differing = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    shown = [key for key in differing if every or not _of_one_class(key)]
    same, hidden = len({**a, **b}) - len(differing), len(differing) - len(shown)
    left_out = [f"{same} equal"] if same else []
    left_out += [f"{hidden} of single classes: give --all"] if hidden else []
    rest = Text(f"{title}: {', '.join(left_out)}", style="dim")
    if not shown:
        return rest
    table = _table(title, "A", "B", "B - A")
    for key in shown:
        cells = [quantity(side[key], key) if key in side else "–" for side in (a, b)]
        both = key in a and key in b
        table.add_row(
            escape(key), *cells, number(b[key] - a[key], key, signed=True) if both else ""
        )
    return Group(table, rest) if left_out else table


def _table(first: str, *others: str, justify: Any = "right") -> Table:
    table = Table(title_justify="left", caption_justify="left", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True, style="cyan")
    for name in others:
        table.add_column(name, justify=justify, overflow="fold")
    return table
