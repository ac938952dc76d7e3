"""`evaluation.json`: what a later test of a finished run found; its reading, writing and table.

The run's own result.json is not touched. One evaluation has several points where a disturbance
was given several strengths; then curve.csv lies beside it.
"""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from pydantic import AwareDatetime, Field, ValidationError

from snnexp.report.atomic import replacing
from snnexp.report.record import (
    Code,
    Confusion,
    Data,
    Environment,
    Firing,
    Operations,
    RecordError,
    _command,
    _Part,
    _problems,
)
from snnexp.report.units import baseline_figure, figure_name, number, quantity, unit

EVALUATION = "evaluation.json"
FOLDER = "evaluations"


class CheckpointUsed(_Part):
    """Which weights were tested: the file below the run's folder (or where it was), its hash."""

    path: str
    sha256: str
    epoch: int


class Disturbance(_Part):
    """What was done to input or weights: the yaml's name, and the arguments of its class."""

    name: str
    target: str
    arguments: dict[str, float | int | str | bool | None]


class Point(_Part):
    """What one test found."""

    disturbance: Disturbance
    metrics: dict[str, float]
    firing: Firing | None
    operations: Operations | None
    confusion: Confusion | None


class Evaluation(_Part):
    """One later test of a run, or one for each strength of a disturbance.

    `run`, `run_commit`: the id and the commit of the run that trained; `code`, `environment` and
    `command` are of the test. `swept` is the key that has another value in each point.
    """

    schema_version: Literal[1] = 1
    run: str
    run_commit: str | None
    checkpoint: CheckpointUsed
    split: Literal["test"] = "test"
    started: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    wall_s: float = 0
    command: list[str] = Field(default_factory=_command)
    code: Code
    environment: Environment
    data: Data
    monitor: str
    baselines: dict[str, float]
    swept: str | None
    points: list[Point]

    def folder(self, run: Path) -> Path:
        """Make and return a new folder below the run's."""
        name = self.points[0].disturbance.name
        stamp = f"{self.started:%Y%m%dT%H%M%SZ}-{name}"
        for n in range(1, 1000):
            path = run / FOLDER / (stamp if n == 1 else f"{stamp}-{n}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise RecordError(
                    f"{path} cannot be made: {error.strerror}; the run's folder must be writable"
                ) from error
            return path
        raise RecordError(f"{run / FOLDER} is full of evaluations of this second")

    def write(self, folder: Path) -> None:
        """Write evaluation.json, and curve.csv and curve.png where there are several points."""
        text = type(self).model_validate(self.model_dump(warnings=False)).model_dump_json(indent=2)
        with replacing(folder / EVALUATION) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        if self.swept is None:
            return
        with (
            replacing(folder / "curve.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            keys = list(dict.fromkeys(key for point in self.points for key in point.metrics))
            writer = csv.DictWriter(stream, [self.swept, *keys], lineterminator="\n")
            writer.writeheader()
            for point, strength in zip(self.points, self.strengths(), strict=True):
                writer.writerow({self.swept: strength, **point.metrics})
        with replacing(folder / "curve.png") as temporary:
            curve(self).savefig(temporary, dpi=160)

    def strengths(self) -> list[Any]:
        """Return the value of the swept key in each point."""
        key = (self.swept or "").removeprefix("corrupt.")
        if key == "corrupt":
            return [point.disturbance.name for point in self.points]
        return [point.disturbance.arguments.get(key) for point in self.points]


def read_evaluation(path: Path) -> Evaluation:
    """Read and validate an evaluation, given the file or its folder.

    Raises RecordError that says what is wrong.
    """
    file = path / EVALUATION if path.is_dir() else path
    try:
        return Evaluation.model_validate_json(json.dumps(json.loads(file.read_text("utf-8"))))
    except FileNotFoundError:
        raise RecordError(f"{file}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: not a JSON file ({error})") from None
    except ValidationError as error:
        raise RecordError(f"{file}: {_problems(error)}") from None


def curve(evaluation: Evaluation) -> Figure:
    """Draw the selecting figure, with trivial predictors, and the firing rate over strengths."""
    main = f"test/{evaluation.monitor.split('/', 1)[-1]}"
    values = evaluation.strengths()
    numbers = all(isinstance(v, int | float) for v in values)
    x = values if numbers else list(range(len(values)))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, key, colour in ((left, main, "#0072B2"), (right, "test/rate", "#D55E00")):
        y = [point.metrics.get(key, float("nan")) for point in evaluation.points]
        axes.plot(x, y, "o-", color=colour, markersize=4)
        if unit(key) == "%":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylabel(key)
        axes.set_xlabel(evaluation.swept)
        if not numbers:
            axes.set_xticks(x, [str(v) for v in values], rotation=30)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    for name, level in evaluation.baselines.items():
        if baseline_figure(name, evaluation.points[0].metrics, main) == main:
            left.axhline(level, color="#767676", linestyle="--", linewidth=1)
            place: Any = ("axes fraction", "data")
            label = f"{name}, undisturbed"
            left.annotate(label, (0, level), xycoords=place, fontsize=7, va="bottom")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
    what = evaluation.points[0].disturbance.name
    data = {"real": ""}.get(evaluation.data.kind, f", {evaluation.data.kind} data")
    figure.suptitle(f"{evaluation.run}{data}: {what}", fontsize=9)
    return figure


def shown_keys(metrics: dict[str, float]) -> list[str]:
    """Return the figures a summary shows: not those of single classes, not firing."""
    return [
        key
        for key in metrics
        if not re.search(r"/recall/|_vs_all_", key) and figure_name(key) not in ("rate", "dead")
    ]


def cells(metrics: dict[str, float], keys: list[str]) -> list[str]:
    """Return figures as people read them, empty where there is none."""
    return [quantity(metrics[key], key) if key in metrics else "" for key in keys]


def differences(new: dict[str, float], old: dict[str, float], keys: list[str]) -> list[str]:
    """Return new less old, signed, empty where one is missing."""
    return [
        number(new[key] - old[key], key, signed=True) if key in new and key in old else ""
        for key in keys
    ]
