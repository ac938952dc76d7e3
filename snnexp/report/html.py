"""The report: one HTML page that needs no network, made of results.csv and what runs are there.

Everything shown is escaped; the page has no script and its policy forbids one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from snnexp.report.atomic import replacing
from snnexp.report.catalogue import Experiment, listing
from snnexp.report.collect import RUNS, SEPARATOR, Row
from snnexp.report.pictures import FIGURES, Picture, find, picture
from snnexp.report.record import RESULT, RecordError, Result, read_result
from snnexp.report.scatter import Scatter, scatters
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
from snnexp.report.units import duration, quantity

REPORT = Path("outputs", "report.html")
TEMPLATE = "page.html.j2"


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
    seeds: list[tuple[int, str, str, str]]
    costs: dict[str, str]
    again: list[str]
    commands: list[str]
    pictures: list[Picture]
    facts: dict[str, str]
    layers: list[tuple[str, ...]]

    @property
    def within(self) -> str:
        """`yes`, `no` or nothing: whether the figure is within tolerance."""
        word = self.verdict.split(":")[0]
        return word if word in ("yes", "no") else ""


@dataclass
class Paper:
    """A paper's section: its settings on real data, and its experiments that were not run there."""

    anchor: str
    title: str
    cards: list[Card] = field(default_factory=list)
    waiting: list[tuple[Experiment, str, str]] = field(default_factory=list)
    excerpts: int = 0
    samples: int = 0

    @property
    def verdicts(self) -> str:
        """How many of the measured settings are within tolerance."""
        judged = [card.within for card in self.cards if card.within]
        return f"{judged.count('yes')} of {len(judged)}" if judged else NONE


@dataclass(frozen=True)
class Machine:
    """Where runs were made, and how many."""

    name: str
    versions: str
    device: str
    backend: str
    precision: str
    runs: int


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    papers: list[Paper]
    excerpts: list[Card]
    samples: list[Card]
    plots: dict[str, list[Scatter]]
    failed: list[tuple[Row, str, str]]
    machines: list[Machine]
    runs: int
    newest: str


def write_report(
    rows: Sequence[Row],
    experiments: Sequence[Experiment],
    place: Path = REPORT,
    runs: Sequence[Path] = (RUNS,),
    figures: Path = FIGURES,
) -> Path:
    """Write the page; return its path. Run folders and figures are shown where they are there."""
    page = make_page(rows, experiments, runs, figures)
    with replacing(place) as temporary:
        temporary.write_text(render(page), encoding="utf-8")
    return place


def render(page: Page) -> str:
    """Return the page as HTML."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["breakable"] = breakable
    return templates.get_template(TEMPLATE).render(page=page, dash=NONE).lstrip()


def breakable(name: str) -> Markup:
    """Escape a name, and let lines break after its underscores, dashes and slashes."""
    return Markup(re.sub(r"([_/-])", r"\1<wbr>", str(escape(name))))


def make_page(
    rows: Sequence[Row], experiments: Sequence[Experiment], runs: Sequence[Path], figures: Path
) -> Page:
    """Put the page's contents together."""
    everything = settings(rows)
    finished = [s for s in everything if s.runs]
    cards = {
        kind: [
            _card(setting, f"{kind}-{i}", runs, figures)
            for i, setting in enumerate(s for s in finished if s.head.data == kind)
        ]
        for kind in ("real", "excerpt", "sample")
    }
    plots = {kind: scatters(s for s in finished if s.head.data == kind) for kind in cards}
    failed = [(row, variation(row), commit(row)) for s in everything for row in s.failed]
    newest = max((row.started for row in rows), default=None)
    return Page(
        _papers(cards, experiments, rows),
        cards["excerpt"],
        cards["sample"],
        plots,
        failed,
        _machines(rows),
        len({row.run for row in rows}),
        f"{newest:%Y-%m-%d}" if newest else NONE,
    )


NO_PAPER = "No paper's claim"


def _papers(
    cards: dict[str, list[Card]], experiments: Sequence[Experiment], rows: Sequence[Row]
) -> list[Paper]:
    """Papers of the catalogue, then those that only results.csv knows."""
    papers: dict[str, Paper] = {}

    def paper(title: str) -> Paper:
        return papers.setdefault(title, Paper(f"paper-{len(papers)}", title))

    measured_names = {card.head.experiment or card.name for card in cards["real"]}
    for title, entries in listing(experiments, rows).items():
        section = paper(title)
        for experiment, status in entries:
            if experiment.name not in measured_names:
                block = experiment.paper
                claimed = claim(block.metric, block.claimed, block.spread) if block else NONE
                section.waiting.append((experiment, claimed, status.kind))
    for card in cards["real"]:
        paper(card.head.title or NO_PAPER).cards.append(card)
    for kind in ("excerpt", "sample"):
        for card in cards[kind]:
            title = card.head.title or NO_PAPER
            if title in papers:
                count = f"{kind}s"
                setattr(papers[title], count, getattr(papers[title], count) + 1)
    return list(papers.values())


def _card(setting: Setting, anchor: str, runs: Sequence[Path], figures: Path) -> Card:
    head = setting.head
    newest = max((run[0] for run in setting.runs), key=lambda row: row.started)
    result, problem = _result(newest.run, runs)
    of = f"{head.name}, seed {newest.seed}, {head.data} data"
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
        pictures=[picture(file, of) for file in find(newest.run, runs, figures)],
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


def _seed(setting: Setting, run: tuple[Row, ...]) -> tuple[int, str, str, str]:
    head = setting.head
    value = next(
        (r.value for r in run if (r.of, r.metric) == (head.main_of, head.main_metric)), None
    )
    shown = NONE if value is None else quantity(value, head.main_metric)
    return run[0].seed, shown, commit(run[0]), run[0].run


def _costs(setting: Setting) -> dict[str, str]:
    """Mean cost over seeds: of one sample where it is about operations."""
    shown = {
        "parameters": ("parameters", "{:,.0f}"),
        "MACs a sample": ("effective_macs", "{:,.0f}"),
        "ACs a sample": ("effective_acs", "{:,.0f}"),
        "dense operations": ("dense", "{:,.0f}"),
        "energy a sample": ("energy_nj", "{:,.4g} nJ"),
    }
    costs = {}
    for name, (metric, form) in shown.items():
        values = setting.values("cost", metric)
        costs[name] = form.format(sum(values) / len(values)) if values else NONE
    times = setting.values("cost", "wall_s")
    costs["time of a run"] = duration(sum(times) / len(times)) if times else NONE
    return costs


def _again(setting: Setting) -> list[str]:
    """The Makefile's command for an experiment that the command line did not change."""
    head = setting.head
    if not head.experiment or variation(head):
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


def _machines(rows: Iterable[Row]) -> list[Machine]:
    heads = {row.run: row for row in rows}.values()
    kinds: dict[tuple[str, ...], int] = {}
    for row in heads:
        key = (row.machine or row.device, row.versions or NONE, row.device, row.backend,
               row.precision)  # fmt: skip
        kinds[key] = kinds.get(key, 0) + 1
    return [Machine(*key, runs=count) for key, count in sorted(kinds.items())]
