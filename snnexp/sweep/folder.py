"""The folder of a sweep: its lock, its manifest, and a small file a job.

    <output_dir>/sweeps/<name>/
        manifest.json   the command and every job of it
        jobs/<key>.json what became of a job
        settings.csv, jobs.csv, sweep.png   the end's table and plot
        study.db        of a search

The runs themselves are where all runs are, below <output_dir>/runs.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from snnexp.report.atomic import replacing
from snnexp.report.record import RecordError
from snnexp.sweep.jobs import Job

MANIFEST = "manifest.json"

Status = Literal["waiting", "running", "complete", "pruned", "failed", "interrupted"]


class JobFile(BaseModel):
    """What a sweep asks of a job, and what became of it: written by the sweep, then by the job.

    `since`: a run that began before is no answer (`sweep.redo=all`). `trial` is the number of a
    search's trial. `run` is the run's folder, `error` its traceback, `attempts` how often it began.
    """

    model_config = ConfigDict(extra="forbid")

    number: int
    label: str
    overrides: list[str]
    since: datetime | None = None
    trial: int | None = None
    status: Status = "waiting"
    attempts: int = 0
    run: str | None = None
    error: str | None = None


class SweepFolder:
    """A sweep's folder; `hold` keeps other sweeps out while this process lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")

    def hold(self) -> None:
        """Take the folder for this process; RecordError where another sweep is at work in it."""
        try:
            (self.path / "jobs").mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RecordError(
                f"{self.path}: another sweep is at work in this folder ({self._holder()}). Wait "
                "for it, or give this one a folder of its own: sweep.name=<name>"
            ) from None
        except OSError as error:
            raise RecordError(
                f"{self.path}: the sweep's folder cannot be made: {error.strerror or error}; give "
                "a place you can write to: output_dir=<folder>"
            ) from error
        (self.path / "holder").write_text(f"{socket.gethostname()}, process {os.getpid()}")

    def release(self) -> None:
        """Let other sweeps in."""
        (self.path / "holder").unlink(missing_ok=True)
        self._lock.release()

    def _holder(self) -> str:
        try:
            return (self.path / "holder").read_text()
        except OSError:
            return "process unknown"

    def write_manifest(self, command: Sequence[str], jobs: Sequence[Job]) -> None:
        """Write down what the sweep consists of."""
        content = {
            "schema_version": 1,
            "command": list(command),
            "started": datetime.now(UTC).isoformat(),
            "jobs": [asdict(job) | {"key": job.key} for job in jobs],
        }
        self._write(self.path / MANIFEST, json.dumps(content, indent=2))

    def write_job(self, key: str, file: JobFile) -> None:
        """Write a job's file, atomically."""
        self._write(self._job(key), file.model_dump_json(indent=2))

    def read_job(self, key: str) -> JobFile | None:
        """Return a job's file, or None where there is none; RecordError where it is damaged."""
        try:
            return JobFile.model_validate_json(self._job(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValidationError, UnicodeDecodeError) as error:
            raise RecordError(
                f"{self._job(key)}: not a file of a sweep's job ({error}); remove it: the runs "
                "themselves are elsewhere"
            ) from None

    def change_job(self, key: str, **changes: Any) -> JobFile:
        """Change some fields of a job's file; return the whole."""
        file = self.read_job(key)
        assert file is not None  # the sweep writes it before it starts the job
        file = file.model_copy(update=changes)
        self.write_job(key, file)
        return file

    def _job(self, key: str) -> Path:
        return self.path / "jobs" / f"{key}.json"

    @staticmethod
    def _write(path: Path, text: str) -> None:
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
