"""The report: one HTML page that needs no network, made of results.csv and what runs are there.

Everything shown is escaped; the page has no script and its policy forbids one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from snnexp.report.atomic import replacing
from snnexp.report.card import Card, make_card
from snnexp.report.catalogue import Experiment, listing
from snnexp.report.collect import RUNS, Row
from snnexp.report.pictures import FIGURES
from snnexp.report.scatter import Scatter, scatters
from snnexp.report.settings import NONE, claim, commit, settings, variation

REPORT = Path("outputs", "report.html")
TEMPLATE = "page.html.j2"


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
    def claims(self) -> bool:
        """Whether these are a paper's settings, which stand beside its claims."""
        return any(card.head.paper for card in self.cards)

    @property
    def verdicts(self) -> str:
        """How many of the measured settings are within tolerance."""
        judged = [card.within for card in self.cards if card.within]
        return f"{judged.count('yes')} of {len(judged)}" if judged else NONE


@dataclass(frozen=True)
class Machine:
    """Where runs were made, and with what."""

    name: str
    versions: str
    device: str
    backend: str
    precision: str


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    papers: list[Paper]
    excerpts: list[Card]
    samples: list[Card]
    plots: dict[str, list[Scatter]]
    failed: list[tuple[Row, str, str]]
    machines: list[tuple[Machine, int]]
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
            make_card(setting, f"{kind}-{i}", runs, figures)
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
    # what was measured comes first, and papers before what no paper claims
    return sorted(papers.values(), key=lambda p: (not p.cards, p.title == NO_PAPER))


def _machines(rows: Iterable[Row]) -> list[tuple[Machine, int]]:
    """Every machine, with its number of runs."""
    heads = {row.run: row for row in rows}.values()
    counts: dict[Machine, int] = {}
    for row in heads:
        machine = Machine(
            row.machine or row.device, row.versions or NONE, row.device, row.backend, row.precision
        )
        counts[machine] = counts.get(machine, 0) + 1
    return sorted(counts.items(), key=lambda item: astuple(item[0]))
