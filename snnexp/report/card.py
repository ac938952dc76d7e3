"""What a page says of one setting: figures, deviations, pictures, cost, and how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snnexp.report.collect import SEPARATOR, Row
from snnexp.report.pictures import Picture, find, picture
from snnexp.report.record import RESULT, RecordError, Result, read_result
from snnexp.report.settings import (
    NONE,
    Setting,
    claim,
    commit,
    commits,
    epoch,
    measured,
    rate,
    trivial,
    variation,
    verdict,
)
from snnexp.report.units import duration, quantity


@dataclass(frozen=True)
class Card:
    """All that the page says of one setting on one kind of data."""

    anchor: str
    name: str
    changed: str
    head: Row
    epoch: str
    claimed: str
    measured: str
    verdict: str
    trivial: str
    rate: str
    commits: str
    deviations: list[str]
    seeds: list[tuple[str, str, str, str]]
    costs: dict[str, str]
    again: list[str]
    commands: list[str]
    shown: str
    pictures: list[Picture]
    facts: dict[str, str]
    layers: list[tuple[str, ...]]

    @property
    def within(self) -> str:
        """`yes`, `no` or nothing: whether the figure is within tolerance."""
        word = self.verdict.split(":")[0]
        return word if word in ("yes", "no") else ""


def make_card(setting: Setting, anchor: str, runs: Sequence[Path], figures: Path) -> Card:
    """Put together what the page says of a setting; its folder is looked for below `runs`."""
    head = setting.head
    latest = sorted((run[0] for run in setting.runs), key=lambda row: row.started, reverse=True)
    drawn = next((row for row in latest if find(row.run, runs, figures)), latest[0])
    result, problem = _result(drawn.run, runs)
    of = f"{head.name}, seed {_part(drawn)}, {head.data} data"
    return Card(
        anchor=anchor,
        name=head.name,
        changed=variation(head),
        head=head,
        epoch=epoch(head),
        claimed=claim(head.main_metric, head.claimed, head.claimed_spread),
        measured=measured(setting),
        verdict=verdict(head, setting.main),
        trivial=trivial(setting),
        rate=rate(setting),
        commits=commits(setting),
        deviations=[text for text in head.deviations.split(SEPARATOR) if text],
        seeds=[_seed(setting, run) for run in setting.runs],
        costs=_costs(setting),
        again=_again(setting),
        commands=list(dict.fromkeys(run[0].command for run in setting.runs if run[0].command)),
        shown=f"seed {_part(drawn)}",
        pictures=[picture(file, of) for file in find(drawn.run, runs, figures)],
        facts=_facts(result) if result else ({"run folder": problem} if problem else {}),
        layers=_layers(result) if result else [],
    )


def _result(run: str, roots: Sequence[Path]) -> tuple[Result | None, str]:
    """The run's record where its folder is there, or what is wrong with it."""
    folder = next((root / run for root in roots if (root / run / RESULT).is_file()), None)
    if folder is None:
        return None, ""
    try:
        return read_result(folder), ""
    except RecordError as error:
        return None, str(error)


def _seed(setting: Setting, run: tuple[Row, ...]) -> tuple[str, str, str, str]:
    """A run in a line: its seed (and fold), its figure, its commit, its folder."""
    head = setting.head
    value = next(
        (r.value for r in run if (r.of, r.metric) == (head.main_of, head.main_metric)), None
    )
    shown = NONE if value is None else quantity(value, head.main_metric)
    return _part(run[0]), shown, commit(run[0]), run[0].run


def _part(row: Row) -> str:
    """`0`, or `0, fold 3` in a cross-validation."""
    return f"{row.seed}" if row.fold is None else f"{row.seed}, fold {row.fold}"


def _costs(setting: Setting) -> dict[str, str]:
    """Mean cost over seeds: of one sample where it is about operations."""
    shown = {
        "parameters": ("parameters", "{:,.0f}"),
        "MACs a sample": ("effective_macs", "{:,.0f}"),
        "ACs a sample": ("effective_acs", "{:,.0f}"),
        "dense operations": ("dense", "{:,.0f}"),
        "energy a sample": ("energy_nj", "{:,.0f} nJ"),
    }
    costs = {}
    for name, (metric, form) in shown.items():
        values = setting.values("cost", metric)
        costs[name] = form.format(sum(values) / len(values)) if values else NONE
    times = setting.values("cost", "wall_s")
    costs["time of a run"] = duration(sum(times) / len(times)) if times else NONE
    return costs


def _again(setting: Setting) -> list[str]:
    """The Makefile's command for an experiment that the command line did not change.

    It runs no folds: of a cross-validation the recorded command is the one to repeat.
    """
    head = setting.head
    if not head.experiment or variation(head) or head.folds:
        return []
    seeds = ",".join(str(run[0].seed) for run in setting.runs)
    sample = " SAMPLE=1" if head.data == "sample" else ""
    return [f"make reproduce-{head.experiment} SEEDS={seeds}{sample}"]


def _facts(result: Result) -> dict[str, str]:
    facts = {}
    if data := result.data:
        sizes = ", ".join(f"{n:,} {split}" for split, n in data.sizes.items())
        facts["data"] = f"{data.source} ({sizes})"
    if operations := result.operations:
        facts["energy"] = operations.energy_formula
        if operations.uncounted:
            facts["not counted"] = ", ".join(operations.uncounted)
    return facts


def _layers(result: Result) -> list[tuple[str, ...]]:
    """Firing of each layer: name, share of steps, Hz, share that never fired, neurons."""
    if result.firing is None:
        return []
    populations = [*result.firing.layers.items(), ("all", result.firing.total)]
    return [
        (
            name,
            f"{100 * layer.rate:.2f}",
            NONE if layer.hz is None else f"{layer.hz:.3g}",
            f"{100 * layer.dead:.1f}",
            f"{layer.neurons:,}",
        )
        for name, layer in populations
    ]
