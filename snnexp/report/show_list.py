"""All experiments for a terminal: what is claimed, what was measured here, what data they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from snnexp.report.catalogue import Experiment, Needs, Status
from snnexp.report.settings import NONE, claim

Entries = Sequence[tuple[Experiment, Status]]
COLOURS = {"none": "dim", "real": "green"}


def show_list(groups: Mapping[str, Entries], console: Console) -> None:
    """Print the experiments of each paper, then the data that they need."""
    needed: dict[str, Needs] = {}
    for title, entries in groups.items():
        console.print(Text(title, style="bold"))
        _paper(entries, console)
        needed |= {experiment.task: experiment.needs for experiment, _ in entries}
    console.print(Text("Data", style="bold"))
    console.print(_data(needed), Text())
    commands = Table.grid(padding=(0, 3))
    commands.add_row("one", "make reproduce-<experiment> SEEDS=0,1,2 DATA_DIR=data")
    commands.add_row("rehearse it", "make reproduce-<experiment> SAMPLE=1")
    commands.add_row("all whose data are there", "make reproduce-all")
    console.print(commands)


def _paper(entries: Entries, console: Console) -> None:
    """A line an experiment; where its claim stands is a note below, for it is long."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("experiment", style="cyan", no_wrap=True)
    table.add_column("claimed", justify="right", no_wrap=True)
    table.add_column("measured here", overflow="fold")
    table.add_column("time", no_wrap=True)
    notes: dict[str, int] = {}
    for experiment, status in entries:
        claimed = Text(NONE, style="dim")
        if paper := experiment.paper:
            note = notes.setdefault(paper.table, len(notes) + 1)
            claimed = Text(f"{claim(paper.metric, paper.claimed, paper.spread)} [{note}]")
        figure = f"{status.figure}, on {status.machine}" if status.machine else status.figure
        table.add_row(
            Text(experiment.name),
            claimed,
            Text(figure, style=COLOURS.get(status.kind, "")),
            Text(status.time, style="dim"),
        )
    console.print(Padding(table, (0, 0, 0, 2)))
    tasks = ", ".join(dict.fromkeys(experiment.task for experiment, _ in entries))
    lines = [*(f"[{n}] {where}" for where, n in notes.items()), f"data: {tasks}"]
    console.print(Padding(Text("\n".join(lines), style="dim"), (0, 0, 0, 2)), Text())


def _data(needed: Mapping[str, Needs]) -> Padding:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for task, needs in sorted(needed.items()):
        way = "fetched by data=real" if needs.fetched else "by hand"
        what = f"{needs.name}; size: {needs.size}; {way} from {needs.source}"
        table.add_row(Text(task, style="cyan"), Text(what))
    return Padding(table, (0, 0, 0, 2))
