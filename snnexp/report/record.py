"""`result.json`: the schema of a run's record, and reading and writing it.

Metric keys are `<split>/<figure>[/<part>]`: `test/acc`, `test/recall/yes`, `val/rate/lif1`. Shares
are in [0, 1]; times in seconds; sizes in bytes.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from snnexp.report.atomic import replacing

SCHEMA_VERSION: Literal[1] = 1
RESULT = "result.json"

Share = Annotated[float, Field(ge=0, le=1)]
Status = Literal["running", "complete", "failed", "interrupted"]
Selection = Literal["selected", "last", "max_over_epochs"]


class RecordError(Exception):
    """A result file or folder that cannot be used; the message names it and what is wrong."""


class Interrupted(Exception):  # noqa: N818 - no error: the run was told to end, and can go on
    """Ends a run as `interrupted`; the message says what stopped it."""


class _Part(BaseModel):
    """Base of all parts: unknown keys are refused; NaN and infinity survive JSON as strings."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, ser_json_inf_nan="strings")


class Paper(_Part):
    """The `paper:` block of an experiment: what was claimed, and how this experiment differs.

    `metric` is a metric key; `claimed`, `spread` and `tolerance` are in its unit. `selection` says
    which of a run's values is set beside the claim. `claimed` null: the paper gives no such value.
    The tolerance is this repository's own: how far a reproduction may be off.
    """

    key: str
    title: str
    table: str
    metric: str
    claimed: float | None
    spread: float | None
    tolerance: float | None
    protocol: Literal["authors", "strict"]
    selection: Selection
    deviations: list[str] = []


class Metrics(_Part):
    """All metrics of a run, by the epoch they belong to.

    `selected`: the epoch chosen by `monitor` on the split of `select_on`; `last`: the last epoch;
    `max_over_epochs`: the best value of each figure over epochs, only where a protocol selects on
    the test set.
    """

    select_on: Literal["val", "test"]
    monitor: str
    selected_epoch: int | None = None
    selected: dict[str, float] = {}
    last: dict[str, float] = {}
    max_over_epochs: dict[str, float] | None = None


class LayerActivity(_Part):
    """Firing of a population: `rate` in share of steps, `dead` the share that never fired."""

    rate: Annotated[float, Field(ge=0)]
    hz: float | None
    dead: Share
    spikes_per_neuron: float
    neurons: int


class Firing(_Part):
    """Firing of a network over one split (`snnexp.metrics.activity.Activity.compute`)."""

    dt: float | None
    samples: int
    layers: dict[str, LayerActivity]
    total: LayerActivity


class LayerOperations(_Part):
    """Synaptic operations of one layer, a sample."""

    kind: Literal["mac", "ac"]
    effective: float
    dense: float
    input_sparsity: Share
    energy_nj: float


class Operations(_Part):
    """Synaptic operations a sample (`snnexp.metrics.synops.SynOps.compute`)."""

    samples: int
    effective_macs: float
    effective_acs: float
    dense: float
    energy_nj: float
    energy_formula: str
    activation_sparsity: Share | None
    membrane_updates: float
    layers: dict[str, LayerOperations]
    uncounted: list[str]


class Size(_Part):
    """Size of a network (`snnexp.metrics.synops.size_figures`)."""

    parameters: int
    trainable_parameters: int
    footprint_bytes: int
    connection_sparsity: Share


class Confusion(_Part):
    """A confusion matrix: `counts[target][prediction]`."""

    split: str
    classes: list[str]
    counts: list[list[int]]

    @model_validator(mode="after")
    def _square(self) -> Self:
        k = len(self.classes)
        if [len(row) for row in self.counts] != [k] * k:
            raise ValueError(f"counts must be {k} x {k}, a row and a column a class")
        return self


class Data(_Part):
    """What the data were. `excerpt` says what part of the real data set was there, if not all.

    `caution` stands beside the figures in tables. `fold` of `folds`, from 0: what a
    cross-validation held out; None where the split has no folds.
    """

    variant: Literal["sample", "real"]
    source: str
    sizes: dict[str, int]
    notes: dict[str, int | float | str] = {}
    excerpt: str = ""
    caution: str = ""
    real_data: str = ""
    fold: int | None = None
    folds: int | None = None

    @property
    def kind(self) -> Literal["sample", "excerpt", "real"]:
        """What tables call these data: only `real` may stand beside a paper's number."""
        return "excerpt" if self.variant == "real" and self.excerpt else self.variant


class Code(_Part):
    """The commit the run was made from; None where the code is not in a git repository.

    `changes` identifies what was not committed: two runs of equal `Code` ran the same code.
    """

    commit: str | None
    dirty: bool | None
    changes: str | None = None


class Environment(_Part):
    """Where a run was made.

    `global_batch`: items an optimizer step, over all processes and accumulated batches.
    """

    versions: dict[str, str]
    platform: str
    cpu: str
    cpu_count: int
    threads: int
    device: str
    gpu: str | None
    world_size: int
    global_batch: int | None = None
    backend: str
    precision: str


class Cost(_Part):
    """What training took; `epoch_s` is the mean time of an epoch, its validation included."""

    epochs: int
    epoch_s: float | None
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int | None


def _command() -> list[str]:
    """The command line as one would type it, without the path of this installation."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name.endswith(".__main__"):
        return ["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
    return list(sys.argv)


class Result(_Part):
    """Everything a run leaves behind, in one file.

    `id` is the run's folder below the root of all runs. `seeds` names every seed in the run
    (`seed`, a task's `split_seed`, ...). Paths are relative to the run's folder. `wall_s` sums all
    sessions of a resumed run but those that were killed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    name: str
    experiment: str | None
    task: str
    model: str
    status: Status = "running"
    error: str | None = None
    host: str = Field(default_factory=socket.gethostname)
    pid: int = Field(default_factory=os.getpid)
    started: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    ended: AwareDatetime | None = None
    resumes: int = 0
    wall_s: float = 0
    command: list[str] = Field(default_factory=_command)
    seed: int
    seeds: dict[str, int]
    config: dict[str, Any]
    config_hash: str
    setting_hash: str
    code: Code
    environment: Environment
    data: Data | None = None
    paper: Paper | None = None
    metrics: Metrics
    history: str = "metrics.csv"
    baselines: dict[str, float] = {}
    firing: Firing | None = None
    operations: Operations | None = None
    size: Size | None = None
    confusion: Confusion | None = None
    figures: list[str] = []
    cost: Cost | None = None

    @model_validator(mode="after")
    def _ended_states(self) -> Self:
        if self.status == "failed" and not self.error:
            raise ValueError("a failed run needs its error text")
        if self.seeds.get("seed") != self.seed:
            raise ValueError(f"seeds['seed'] must be the run's seed {self.seed}")
        return self

    def write(self, folder: Path) -> Path:
        """Validate and write `<folder>/result.json` atomically; return its path.

        Raises RecordError, naming the file, where it cannot be written.
        """
        # assignments inside dicts and lists are not seen by pydantic: validate the whole again
        text = type(self).model_validate(self.model_dump(warnings=False)).model_dump_json(indent=2)
        path = folder / RESULT
        try:
            with replacing(path) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise RecordError(f"{path} could not be written: {error.strerror or error}") from error
        return path


def read_result(path: Path) -> Result:
    """Read and validate a run's result.json, given the file or its folder.

    Raises RecordError: no such file, not JSON, another schema version, or fields that do not fit.
    """
    file = path / RESULT if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{file}: no such file; a run's folder holds {RESULT}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: not a JSON file ({error})") from None
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{file}: schema_version is {version!r}, this code reads {SCHEMA_VERSION}; "
            "read it with the snnexp version that wrote it, or run again"
        )
    try:
        return Result.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise RecordError(f"{file}: {_problems(error)}") from None


def read_paper(block: dict[str, Any]) -> Paper:
    """Validate the `paper:` block of an experiment; RecordError names each key that is wrong."""
    try:
        return Paper.model_validate(block)
    except ValidationError as error:
        raise RecordError(f"paper block: {_problems(error)}") from None


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'record'}: {e['msg']}" for e in error.errors()
    )


@contextmanager
def recording(result: Result, folder: Path) -> Iterator[Result]:
    """Keep `result.json` of a run true, whatever becomes of the run.

    Writes it as `running`, gives it to the block to fill, and writes it again with the end's
    status: `complete`, unless the block set another one; `interrupted` after Ctrl-C, SIGTERM or
    any other exit; `failed` with the traceback after an error. The error itself is passed on. A
    killed run stays `running`, as does one whose end cannot be written. Where the folder holds a
    record already, the run is a continuation: its start and time are kept.
    """
    if (folder / RESULT).exists():
        earlier = read_result(folder)
        result.started, result.wall_s = earlier.started, earlier.wall_s
        result.resumes = earlier.resumes + 1
    before, start = result.wall_s, time.monotonic()
    result.status, result.error, result.ended = "running", None, None
    result.write(folder)
    try:
        yield result
        if result.status == "running":
            result.status = "complete"
    except (KeyboardInterrupt, SystemExit, Interrupted) as exit_:
        # Lightning turns Ctrl-C into SystemExit, and SIGTERM into a subclass of it
        result.error = f"{type(exit_).__name__}: {exit_}".removesuffix(": ")
        result.status = "interrupted"
        raise
    except BaseException as error:
        result.error = "".join(traceback.format_exception(error)).rstrip()
        result.status = "failed"
        raise
    finally:
        result.wall_s = before + time.monotonic() - start
        result.ended = datetime.now(UTC)
        stopped = sys.exception()
        try:
            result.write(folder)
        except RecordError as unwritten:
            if stopped is None:
                raise
            stopped.add_note(str(unwritten))
