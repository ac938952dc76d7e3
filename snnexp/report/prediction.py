"""`prediction.json` and its pictures: what a trained network made of one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import AwareDatetime, Field
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from snnexp.report.atomic import replacing
from snnexp.report.evaluation import CheckpointUsed
from snnexp.report.figures import raster
from snnexp.report.record import Code, Firing, Operations, RecordError, _command, _Part
from snnexp.report.show import activity_table, operations_table

PREDICTION = "prediction.json"
#: inputs of one file that get pictures of their own, and lines on the screen
PICTURES, LINES = 8, 25


class Predicted(_Part):
    """One input: `probabilities` by class, the largest first, or a depth map's file."""

    name: str
    probabilities: dict[str, float] | None
    depth: str | None = None
    mean_error_m: float | None = None
    firing: Firing | None
    operations: Operations | None
    notes: list[str]
    figures: list[str] = Field(default_factory=list)


class PredictionRecord(_Part):
    """What one command predicted; `statistics` says where the training set's constants are from."""

    schema_version: Literal[1] = 1
    run: str
    checkpoint: CheckpointUsed
    file: str
    file_sha256: str
    statistics: str
    made: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    command: list[str] = Field(default_factory=_command)
    code: Code
    inputs: list[Predicted]

    def write(self, folder: Path) -> None:
        """Write prediction.json."""
        text = type(self).model_validate(self.model_dump(warnings=False)).model_dump_json(indent=2)
        with replacing(folder / PREDICTION) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def new_folder(wanted: str | None, stem: str) -> Path:
    """Make the folder of a prediction: the named one, which must be new, or the next free one."""
    place = Path("predictions")
    paths = [Path(wanted)] if wanted else [
        place / (stem if n == 1 else f"{stem}-{n}") for n in range(1, 1000)
    ]  # fmt: skip
    for path in paths:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RecordError(
                f"{path} cannot be made: {error.strerror}; give output=<folder>"
            ) from error
        return path
    raise RecordError(f"{paths[0]} is there already; give output=<new folder>")


def draw_raster(arrays: dict[str, Any], caption: str, title: str, folder: Path, name: str) -> str:
    """Draw the input above the spikes of each layer, as a run does; return the picture's name."""
    file = folder / f"{name}.npz"
    np.savez_compressed(file, **arrays, title=title)
    raster(file, caption).savefig(folder / f"{name}.png", dpi=160)
    return f"{name}.png"


def draw_depth(
    depth: NDArray[np.float32], truth: NDArray[np.float32] | None, title: str, path: Path
) -> str:
    """Draw a depth map, beside the true one and the error where that is known."""
    known = truth is not None and np.isfinite(truth).any()
    shown = truth[np.isfinite(truth)] if known and truth is not None else depth
    low, high = np.quantile(shown, (0.01, 0.99))
    figure = Figure(figsize=(9 if known else 4.6, 3), layout="constrained")
    panels = figure.subplots(1, 3 if known else 1, squeeze=False)[0]
    style: dict[str, Any] = {"cmap": "viridis_r", "vmin": low, "vmax": high}
    image = panels[0].imshow(depth, **style)
    panels[0].set_title("predicted depth", fontsize=9)
    figure.colorbar(image, ax=panels[0], label="m", shrink=0.7)
    if known and truth is not None:
        panels[1].imshow(truth, **style)
        panels[1].set_title("true depth", fontsize=9)
        error = np.abs(depth - truth)
        wrong = panels[2].imshow(error, cmap="magma", vmin=0)
        panels[2].set_title(f"error, mean {100 * np.nanmean(error):.0f} cm", fontsize=9)
        figure.colorbar(wrong, ax=panels[2], label="m", shrink=0.7)
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=160)
    return path.name


def show_prediction(record: PredictionRecord, console: Console, folder: Path) -> None:
    """Print classes or depths, activity, cost, and where the files are."""
    first = record.inputs[0]
    single = len(record.inputs) == 1
    notes = dict.fromkeys(note for i in record.inputs for note in i.notes)
    parts: list[RenderableType | None] = [
        Text.assemble((Path(record.file).name, "bold"), f"  by {record.run}"),
        _classes(first) if single and first.probabilities else _overview(record.inputs),
        activity_table(first.firing) if single and first.firing else None,
        operations_table(first.operations) if single and first.operations else None,
        Text("\n".join(notes), style="yellow") if notes else None,
        _facts(record, folder),
    ]
    spaced = (line for part in parts if part is not None for line in (part, Text()))
    console.print(Group(*spaced))


def _classes(one: Predicted) -> Table:
    table = _table("class", "probability, %")
    assert one.probabilities is not None  # the caller has looked
    for name, p in list(one.probabilities.items())[:LINES]:
        table.add_row(escape(name), f"{100 * p:.1f}")
    return table


def _overview(inputs: list[Predicted]) -> Table:
    table = _table("input", "class", "probability, %", "rate, % of steps", "energy, nJ")
    if inputs[0].probabilities is None:
        table = _table("input", "file", "mean error, cm", "rate, % of steps", "energy, nJ")
    for one in inputs[:LINES]:
        if one.probabilities is None:
            error = "" if one.mean_error_m is None else f"{100 * one.mean_error_m:.1f}"
            found = [one.depth or "", error]
        else:
            name, p = next(iter(one.probabilities.items()))
            found = [escape(name), f"{100 * p:.1f}"]
        table.add_row(
            escape(one.name),
            *found,
            f"{100 * one.firing.total.rate:.2f}" if one.firing else "",
            f"{one.operations.energy_nj:,.1f}" if one.operations else "",
        )
    if len(inputs) > LINES:
        table.caption = f"{len(inputs) - LINES} more in {PREDICTION}"
    return table


def _facts(record: PredictionRecord, folder: Path) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    used = record.checkpoint
    facts = {
        "weights": f"{used.path}, epoch {used.epoch + 1}, sha256 {used.sha256[:12]}",
        "constants of the training set": record.statistics,
        "folder": str(folder),
    }
    for key, value in facts.items():
        table.add_row(Text(key, style="dim"), Text(value))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.add_column(first, style="cyan")
    for name in others:
        table.add_column(name, justify="right")
    return table
