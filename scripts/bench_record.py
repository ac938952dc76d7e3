"""The rows of outputs/bench.csv: one schema for every benchmark, on CPU and GPU.

| column                    | what it holds                                                   |
|---------------------------|-----------------------------------------------------------------|
| `what`                    | what was timed, like `lif forward+backward`                     |
| `n`, `t`, `dtype`         | neurons (or items of another kind), steps, type of the input    |
| `provider`                | who ran it: `cpu`, `triton`, `reference`, or a peer's name      |
| `device`, `threads`       | model of processor or GPU; threads of torch, empty on a GPU     |
| `ms`                      | median of interleaved runs, milliseconds                        |
| `ratio_to`, `ratio`       | another row's `provider`, and its ms / this ms: above 1: faster |
| `peak_bytes`              | most memory held by tensors during a call, inputs included      |
| `gbps`                    | bytes that must be moved / time, in 10^9 bytes a second         |
| `python`, `torch`, `peer` | versions; `peer` is the package that `provider` comes from      |
| `date`, `commit`, `dirty` | day of the run, commit, whether files differ from it            |
| `command`                 | what was typed, absolute paths left open: `...`                 |

What is not known or does not apply is empty. Only torch is needed here, so that a benchmark runs
where nothing else is installed.
"""

from __future__ import annotations

import csv
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from importlib import metadata
from pathlib import Path

import torch

from snnexp.report.places import command_line

ROOT = Path(__file__).resolve().parents[1]
BENCH_CSV = ROOT / "outputs" / "bench.csv"
#: written by runs and reports themselves: a change there is no change of the code
NOT_CODE = (":(exclude)outputs", ":(exclude)README.md")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One timing; None where a figure is not known."""

    what: str
    n: int
    t: int
    dtype: str
    provider: str
    device: str
    threads: int | None = None
    ms: float
    ratio_to: str | None = None
    ratio: float | None = None
    peak_bytes: int | None = None
    gbps: float | None = None
    python: str = field(default_factory=platform.python_version)
    torch: str = torch.__version__
    peer: str | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where and when the rows of one command were made."""

    date: str
    commit: str | None
    dirty: bool | None
    command: str


COLUMNS = [f.name for f in (*fields(Row), *fields(Origin))]


def origin(module: str, commit: str | None = None) -> Origin:
    """Return the origin of what `python -m module` measures now.

    `commit` speaks for a copy of the files without their git repository; where git answers, git is
    believed.
    """
    found = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", *NOT_CODE) if found else None
    return Origin(
        date=date.today().isoformat(),
        commit=found or commit,
        dirty=None if changes is None else changes != "",
        command=command_line(["python", "-m", module, *sys.argv[1:]]),
    )


def _git(*args: str) -> str | None:
    """Return what git says of this code, or None where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *args], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def version(package: str) -> str | None:
    """Return `package` with its version, None where it is not installed."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the model of this machine's processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def beside(
    what: str,
    n: int,
    t: int,
    dtype: str,
    ms: Mapping[str, float],
    threads: Mapping[str, int],
    package: str | None = None,
    ours: str = "snnexp",
) -> list[Row]:
    """Return a row for each program of `ms`: `ours` is related to the first other one's, all to it.

    `package` is what programs of ours rest on (their names begin with `ours`); a peer's is its own.
    """
    peer = next((name for name in ms if not name.startswith(ours)), None)
    rows = []
    for name, spent in ms.items():
        to = peer if name == ours else ours
        rows.append(
            Row(
                what=what,
                n=n,
                t=t,
                dtype=dtype,
                provider=name,
                device=processor(),
                threads=threads[name],
                ms=spent,
                ratio_to=to,
                ratio=None if to is None else ms[to] / spent,
                peer=version(package or name if name.startswith(ours) else name),
            )
        )
    return rows


def append(path: Path, rows: Iterable[Row], of: Origin) -> None:
    """Append rows to a csv of this schema, which is made where there is none.

    Raises ValueError for a file with other columns.
    """
    new = not path.is_file() or not path.stat().st_size
    if not new:
        with path.open(newline="", encoding="utf-8") as file:
            _check_columns(path, next(csv.reader(file)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) | asdict(of) for row in rows)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv of this schema as they are written.

    Raises ValueError for a file that is not there, is empty or has other columns.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there; benchmarks write it with --record {path}")
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        _check_columns(path, list(lines.fieldnames or []))
        return list(lines)


def _check_columns(path: Path, given: list[str]) -> None:
    if given != COLUMNS:
        raise ValueError(
            f"{path} has the columns {', '.join(given) or '(none)'}, expected "
            f"{', '.join(COLUMNS)}; give another file or move this one away"
        )
