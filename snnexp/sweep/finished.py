"""What earlier runs of a job's configuration are good for: taken, continued, or waited for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from snnexp.report.folder import LAST_CHECKPOINT, held_if_free, is_held, runs_of
from snnexp.report.record import RESULT, Code, RecordError, Result, read_result

log = logging.getLogger("snnexp")


@dataclass(frozen=True)
class Earlier:
    """The earlier runs of one configuration, the latest first.

    A run counts if it was made by the same code: the same commit and, where files differ from
    it, the same differences. With `since`, only runs that began no earlier count.
    """

    root: Path
    name: str
    seed: int
    digest: str
    code: Code
    since: datetime | None = None

    def finished(self) -> tuple[Result, Path] | None:
        """Return the latest complete run, if there is one."""
        return next((found for found in self._runs() if found[0].status == "complete"), None)

    def cut(self) -> bool:
        """Return whether the latest run was cut, not failed, and left a checkpoint."""
        latest = next(self._runs(), None)
        if latest is None:
            return False
        result, path = latest
        return result.status in ("running", "interrupted") and (path / LAST_CHECKPOINT).is_file()

    def held(self) -> Path | None:
        """Return the folder of a run that a living process is at work in, if there is one."""
        return next(
            (path for result, path in self._runs() if result.status == "running" and is_held(path)),
            None,
        )

    def close(self) -> None:
        """Record of every run that its process left without a word that it was interrupted."""
        for result, path in self._runs():
            if result.status == "running":
                with held_if_free(path) as free:
                    if free and (result := read_result(path)).status == "running":
                        result.status, result.error = "interrupted", "its process was killed"
                        result.write(path)

    def _runs(self) -> Iterator[tuple[Result, Path]]:
        for path in runs_of(self.root, self.name, self.seed, self.digest):
            if not (path / RESULT).is_file():
                continue  # killed before its record was written
            try:
                result = read_result(path)
            except RecordError as error:
                log.warning("left aside: %s", error)
                continue
            if result.config_hash != self.digest or result.code != self.code:
                continue
            if self.since is None or result.started >= self.since:
                yield result, path
