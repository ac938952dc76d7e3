"""`outputs/results.csv`: every collected run in long format, a row a run and figure."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from snnexp.report.atomic import replacing
from snnexp.report.epochs import EPOCHS, epochs_of, write_epochs
from snnexp.report.folder import config_hash
from snnexp.report.places import command_line, error_line
from snnexp.report.record import RESULT, Environment, RecordError, Result, read_result

RESULTS_CSV = Path("outputs", "results.csv")
RUNS = Path("outputs", "runs")
#: between the deviations of a row; a deviation may hold commas and semicolons
SEPARATOR = " | "

Of = Literal["selected", "last", "max_over_epochs", "baseline", "cost", ""]


class Row(BaseModel):
    """One figure of one run; the first columns repeat in all rows of the run.

    `of` says where the figure belongs: to the selected, the last or the best epoch, to a trivial
    predictor (`baseline`), or to what the network costs (`cost`: parameters, operations, energy,
    time). A run that ended without a figure has one row with `metric` empty. `main_metric` and
    `main_of` name the figure that tables show. `experiment`, `command`, `machine` and `versions`
    are what a reader needs to repeat the run where its folder is not. `fold` of `folds` is the part
    a cross-validation held out; runs that differ in seed and fold only have one `setting`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    name: str
    experiment: str
    task: str
    model: str
    data: Literal["sample", "excerpt", "real"]
    data_note: str
    seed: int
    fold: int | None = None
    folds: int | None = None
    status: Literal["complete", "failed", "interrupted"]
    error: str
    started: datetime
    epochs: int | None
    setting: str
    commit: str
    dirty: bool
    command: str
    machine: str
    versions: str
    device: str
    backend: str
    precision: str
    select_on: Literal["val", "test"]
    paper: str
    title: str
    table: str
    protocol: str
    main_metric: str
    main_of: str
    claimed: float | None
    claimed_spread: float | None
    tolerance: float | None
    deviations: str
    of: Of
    metric: str
    value: float | None

    @field_validator(
        "fold", "folds", "epochs", "claimed", "claimed_spread", "tolerance", "value", mode="before"
    )
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("command")
    @classmethod
    def _can_be_split(cls, command: str) -> str:
        shlex.split(command)
        return command


def rows_of(result: Result) -> list[Row]:
    """Return the rows of one finished run."""
    paper, data = result.paper, result.data
    common = {
        "run": result.id,
        "name": result.name,
        "experiment": result.experiment or "",
        "task": result.task,
        "model": result.model,
        "data": data.kind if data else result.config.get("data", "sample"),
        "data_note": "; ".join(filter(None, (data.excerpt, data.caution))) if data else "",
        "seed": result.seed,
        "fold": data.fold if data else None,
        "folds": data.folds if data else None,
        "status": result.status,
        "error": error_line(result.error),
        "started": result.started,
        "epochs": result.cost.epochs if result.cost else None,
        "setting": config_hash(result.config, ignore_seed=True)[:8],
        "commit": result.code.commit or "",
        "dirty": bool(result.code.dirty),
        "command": command_line(result.command),
        "machine": _machine(result.environment),
        "versions": _versions(result.environment),
        "device": result.environment.gpu or result.environment.device,
        "backend": result.environment.backend,
        "precision": result.environment.precision,
        "select_on": result.metrics.select_on,
        "paper": paper.key if paper else "",
        "title": paper.title if paper else "",
        "table": paper.table if paper else "",
        "protocol": paper.protocol if paper else "",
        "main_metric": paper.metric if paper else _test_key(result.metrics.monitor),
        "main_of": paper.selection if paper else "selected",
        "claimed": paper.claimed if paper else None,
        "claimed_spread": paper.spread if paper else None,
        "tolerance": paper.tolerance if paper else None,
        "deviations": SEPARATOR.join(paper.deviations) if paper else "",
    }
    figures: list[tuple[Of, str, float | None]] = [*_figures(result)] or [("", "", None)]
    return [
        Row.model_validate(common | {"of": of, "metric": metric, "value": value})
        for of, metric, value in figures
    ]


def _machine(environment: Environment) -> str:
    """`2 x NVIDIA H100` or `AMD EPYC 7B13, 2 threads`."""
    name = environment.gpu or f"{environment.cpu}, {environment.threads} threads"
    return f"{environment.world_size} x {name}" if environment.world_size > 1 else name


def _versions(environment: Environment) -> str:
    """The versions of what computes; all others are in result.json."""
    found = environment.versions
    return ", ".join(f"{key} {found[key]}" for key in ("python", "torch", "numba") if key in found)


def _test_key(monitor: str) -> str:
    """`val/acc` -> `test/acc`: the figure a run was selected by, on the test set."""
    return f"test/{monitor.split('/', 1)[-1]}"


def _figures(result: Result) -> Iterator[tuple[Of, str, float]]:
    """Every figure of a run: of which epoch or kind, its key, its value."""
    groups: list[tuple[Of, dict[str, float] | None]] = [
        ("selected", result.metrics.selected),
        ("last", result.metrics.last),
        ("max_over_epochs", result.metrics.max_over_epochs),
        ("baseline", result.baselines),
    ]
    for of, figures in groups:
        yield from ((of, metric, value) for metric, value in (figures or {}).items())
    if result.size:
        yield "cost", "parameters", result.size.parameters
    if operations := result.operations:
        for key in ("effective_macs", "effective_acs", "dense", "energy_nj"):
            yield "cost", key, getattr(operations, key)
    if result.status == "complete":
        yield "cost", "wall_s", result.wall_s


def read_rows(file: Path) -> list[Row]:
    """Read and validate results.csv; RecordError names the line that does not fit."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            _check_columns(file, reader.fieldnames or [])
            return [_row(file, reader.line_num, fields) for fields in reader]
    except FileNotFoundError:
        raise RecordError(
            f"{file}: no such file; make it with: python -m snnexp.report collect --all"
        ) from None


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    """Raise RecordError for the columns of an older or newer version of this code.

    Columns with a default may be missing: a file from before them stays readable.
    """
    required = [name for name, field in Row.model_fields.items() if field.is_required()]
    missing = [name for name in required if name not in columns]
    unknown = [name for name in columns if name not in Row.model_fields]
    if not missing and not unknown:
        return
    what = [f"no column {', '.join(missing)}"] if missing else []
    what += [f"unknown columns {', '.join(unknown)}"] if unknown else []
    raise RecordError(
        f"{file}: {'; '.join(what)}: written by another version of snnexp. It is left as it is; "
        "read it with that version, or move it away and collect the run folders anew with: "
        "python -m snnexp.report collect --all"
    )


def _row(file: Path, line: int, fields: dict[str, str]) -> Row:
    try:
        return Row.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
        raise RecordError(f"{file}, line {line}: {problems}") from None


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write results.csv atomically."""
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(Row.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.model_dump(mode="json") for row in rows)


def run_files(root: Path) -> list[Path]:
    """Return the result files of all runs below `root`, oldest name first."""
    return sorted(root.rglob(RESULT))


@dataclass
class Collected:
    """What `collect` did: ids of runs added or replaced, ids still running, unreadable files."""

    added: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(files: Iterable[Path], csv_file: Path) -> Collected:
    """Add runs to results.csv, given their result files or folders.

    A run that is there already is replaced where it stands, others are added at the end; a second
    call changes nothing. Runs that have not ended (or were killed) are left out, and a file that
    cannot be read hinders no other. What each epoch gave goes to epochs.csv beside it.
    """
    done = Collected()
    found: dict[str, list[Row]] = {}
    epochs: list[pd.DataFrame] = []
    for file in files:
        try:
            result = read_result(file)
            history = epochs_of(file if file.is_dir() else file.parent, result)
        except RecordError as error:
            done.problems.append(str(error))
            continue
        if result.status == "running":
            done.running.append(result.id)
        else:
            done.added.append(result.id)
            found[result.id] = rows_of(result)
            epochs.append(history)
    csv_file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(csv_file.with_name(f".{csv_file.name}.lock")):
        runs: dict[str, list[Row]] = {}
        for row in read_rows(csv_file) if csv_file.exists() else []:
            runs.setdefault(row.run, []).append(row)
        runs |= found
        write_rows(csv_file, (row for rows in runs.values() for row in rows))
        write_epochs(csv_file.with_name(EPOCHS), epochs)
    return done
