"""Every experiment of configs/experiment: its claim, the data it needs, and what was measured here.

Reads the yaml files themselves, without Hydra: an experiment names its task with `override /task`,
and may start from another one, whose task and `paper:` block it then takes over and changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from snnexp.report.collect import Row
from snnexp.report.record import Paper, RecordError, read_paper
from snnexp.report.settings import Setting, measured, settings, variation
from snnexp.report.units import duration

EXPERIMENTS = Path("configs", "experiment")
TASKS = Path("tasks")


class Needs(BaseModel):
    """What `data=real` needs: an entry of `tasks/<folder>/data.yaml`, by name of configs/task.

    `fetched` is whether the task downloads it; `size` says `unknown` where no source states one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: str
    source: str
    fetched: bool


@dataclass(frozen=True)
class Experiment:
    """One file of configs/experiment; `paper` is None where it is nobody's claim but ours."""

    name: str
    task: str
    paper: Paper | None
    needs: Needs


def experiments(folder: Path = EXPERIMENTS, tasks: Path = TASKS) -> list[Experiment]:
    """Return every experiment, by paper, a strict protocol after its authors'.

    Raises RecordError where the folder is not there or a file does not fit.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise RecordError(f"{folder}: no experiments there; start from the repository's root")
    needs = data_needs(tasks)
    found = [_experiment(file, needs) for file in files]
    return sorted(found, key=_order)


def _order(experiment: Experiment) -> tuple[Any, ...]:
    paper, name = experiment.paper, experiment.name
    strict = name.endswith("_strict")
    return paper is None, paper.key if paper else "", name.removesuffix("_strict"), strict


def _experiment(file: Path, needs: Mapping[str, Needs]) -> Experiment:
    task, block = _resolve(file)
    if task is None:
        raise RecordError(f"{file}: no `override /task` in its defaults or in its parent's")
    if task not in needs:
        raise RecordError(f"{file}: task {task} has no entry in any {TASKS}/*/data.yaml")
    try:
        paper = read_paper(block) if block else None
    except RecordError as error:
        raise RecordError(f"{file}: {error}") from None
    return Experiment(file.stem, task, paper, needs[task])


def _resolve(file: Path) -> tuple[str | None, dict[str, Any]]:
    """The task and the `paper:` block of an experiment, its parent's first."""
    content = _load(file)
    task: str | None = None
    paper: dict[str, Any] = {}
    for entry in content.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            task, paper = _resolve(file.with_name(f"{entry}.yaml"))
        elif isinstance(entry, Mapping):
            task = entry.get("override /task", task)
    return task, paper | (content.get("paper") or {})


def data_needs(tasks: Path = TASKS) -> dict[str, Needs]:
    """Return what each task of configs/task needs; RecordError names the file that does not fit."""
    found = {}
    for file in sorted(tasks.glob("*/data.yaml")):
        for task, entry in _load(file).items():
            try:
                found[str(task)] = Needs.model_validate(entry)
            except ValidationError as error:
                raise RecordError(f"{file}, {task}: {error}") from None
    return found


def _load(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{file}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise RecordError(f"{file}: expected keys and values")
    return content


@dataclass(frozen=True)
class Status:
    """What is known of an experiment here: `figure` as text, on which `kind` of data, how long.

    `kind` is `real`, `excerpt`, `sample` or `none`; `time` is the mean of a run on `real` on
    `machine`, else `unknown`.
    """

    kind: str
    figure: str
    time: str = "unknown"
    machine: str = ""


def status(experiment: Experiment, rows: Iterable[Row]) -> Status:
    """Say what was measured of an experiment: on the real data, else what comes nearest.

    Settings that change the experiment count only where nothing else was run.
    """
    own = [row for row in rows if (row.experiment or row.name) == experiment.name]
    finished = [setting for setting in settings(own) if setting.runs]
    for kind in ("real", "excerpt", "sample"):
        if of_kind := [s for s in finished if s.head.data == kind]:
            best = max(of_kind, key=lambda s: (not variation(s.head), len(s.runs), s.head.started))
            seconds = best.values("cost", "wall_s") if kind == "real" else []
            if not seconds:
                return Status(kind, _figure(best))
            return Status(kind, _figure(best), duration(fmean(seconds)), best.head.machine)
    return Status("none", "not run here")


def _figure(setting: Setting) -> str:
    head = setting.head
    text = measured(setting)
    if head.data != "real":
        where = f"excerpt, {head.data_note}" if head.data == "excerpt" else "sample data"
        text += f" on {where} only"
    changed = variation(head)
    return f"{text}, with {changed}" if changed else text


def listing(
    found: Sequence[Experiment], rows: Sequence[Row]
) -> dict[str, list[tuple[Experiment, Status]]]:
    """Group experiments with their status by paper: the title, or what stands for none."""
    groups: dict[str, list[tuple[Experiment, Status]]] = {}
    for experiment in found:
        title = experiment.paper.title if experiment.paper else "No paper's claim"
        groups.setdefault(title, []).append((experiment, status(experiment, rows)))
    return groups
