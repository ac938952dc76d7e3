"""The folder of a run: where it is, whose it is, and which one to continue.

    <root>/<name>/seed<k>/<UTC time>-<first 8 digits of the config's hash>/

with `result.json`, `metrics.csv`, `config.yaml`, `checkpoints/last.ckpt`, ... in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from snnexp.report.atomic import remove_leftovers
from snnexp.report.record import RESULT, RecordError, read_result

LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")

#: keys at the root of a config that say what a run is called, shows or claims, not what it computes
NAMES_AT_ROOT = frozenset({"name", "resume", "logger", "outputs", "output_dir", "paper", "hydra"})
#: keys that say where things are or what is shown, wherever they stand
PLACES_ANYWHERE = frozenset(
    {"data_dir", "cache_dir", "num_workers", "progress", "enable_progress_bar"}
)
#: keys that say when to stop for now: they count as null, since the run goes on to the same end
PAUSES_ANYWHERE = frozenset({"max_time"})


def config_hash(config: Mapping[str, Any], ignore_seed: bool = False) -> str:
    """Return the SHA-256, in hex, of a resolved config without what does not change results.

    Left out: `NAMES_AT_ROOT`, `PLACES_ANYWHERE` and the values of `PAUSES_ANYWHERE`. The order of
    keys does not matter, nor does 1 against 1.0. Two runs of equal hash may differ in machine, data
    files and code: those are in result.json. With `ignore_seed` the root's `seed`, the task's own
    where it follows the root's, and the task's `fold` of a cross-validation are left out as well:
    the hash of a setting.
    """
    ignored = NAMES_AT_ROOT | ({"seed"} if ignore_seed else set())
    kept = {key: value for key, value in config.items() if key not in ignored}
    if ignore_seed and isinstance(task := kept.get("task"), Mapping):
        follows = {"fold"} | ({"seed"} if task.get("seed") == config.get("seed") else set())
        kept["task"] = {key: value for key, value in task.items() if key not in follows}
    return hashlib.sha256(json.dumps(_canonical(kept), sort_keys=True).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(k): None if k in PAUSES_ANYWHERE else _canonical(v)
            for k, v in value.items()
            if k not in PLACES_ANYWHERE
        }
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a resolved config holds plain values only, got {value!r} ({type(value).__name__}); "
        "pass OmegaConf.to_container(cfg, resolve=True)"
    )


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, held by this process until `release` or its end, however it ends.

    `id` is the path below the root of all runs; `resumed` is whether the run is a continuation.
    A copy sent to another process of the run (pickle) knows the place and does not hold it.
    """

    path: Path
    id: str
    resumed: bool
    _lock: FileLock | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    @classmethod
    def create(cls, root: Path, name: str, seed: int, config: Mapping[str, Any]) -> RunFolder:
        """Make a new folder, never an existing one, and hold it.

        Raises RecordError where the folder cannot be made.
        """
        parent = _parent(root, name, seed)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{config_hash(config)[:8]}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for path in _candidates(parent, stamp):
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                lock = _lock(path)
                lock.acquire(timeout=0)
                return cls(path, path.relative_to(root).as_posix(), False, lock)
        except OSError as error:
            raise RecordError(
                f"the run's folder cannot be made below {parent}: {error.strerror or error}; "
                "start from a folder you can write to"
            ) from error
        raise AssertionError("unreachable: candidates do not end")

    @classmethod
    def resume(
        cls, root: Path, name: str, seed: int, config: Mapping[str, Any]
    ) -> RunFolder | None:
        """Hold the latest unfinished run of the same config that has a checkpoint, if any.

        A run that another process still holds is left alone. Raises RecordError where the record
        of one is damaged or of another version: to start anew beside it might lose its work.
        """
        digest = config_hash(config)
        for path in runs_of(root, name, seed, digest):
            if not (path / LAST_CHECKPOINT).is_file() or not _unfinished(path, digest):
                continue
            lock = _lock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            if not _unfinished(path, digest):  # the process that held it has just finished
                lock.release()
                continue
            remove_leftovers(path)
            return cls(path, path.relative_to(root).as_posix(), True, lock)
        return None

    @property
    def last_checkpoint(self) -> Path:
        """Where the checkpoint to continue from is, or is to be."""
        return self.path / LAST_CHECKPOINT

    def release(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def runs_of(root: Path, name: str, seed: int, digest: str) -> list[Path]:
    """Return the folders of the runs of a config, given its hash, the latest first.

    Their names hold only the beginning of the hash: compare the record's `config_hash`.
    """
    return sorted(_parent(root, name, seed).glob(f"*-{digest[:8]}*"), reverse=True)


def is_held(path: Path) -> bool:
    """Return whether a process, this one included, is at work in a run's folder."""
    with held_if_free(path) as free:
        return not free


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a run's folder, unless a process is at work in it; yields whether it is held."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _parent(root: Path, name: str, seed: int) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise RecordError(f"run name {name!r}: expected letters, digits, '.', '_' and '-'")
    return root / name / f"seed{seed}"


def _candidates(parent: Path, stamp: str) -> Iterator[Path]:
    """The wanted name, then the same with a counter: two runs may start in one second."""
    yield parent / stamp
    n = 2
    while True:
        yield parent / f"{stamp}-{n}"
        n += 1


def _lock(path: Path) -> FileLock:
    return FileLock(path / ".lock")


def _unfinished(path: Path, digest: str) -> bool:
    if not (path / RESULT).is_file():
        return False
    try:
        result = read_result(path)
    except RecordError as error:
        raise RecordError(
            f"{error}. resume=auto cannot tell whether that run is finished: move its folder away, "
            "or start a new run with resume=null"
        ) from error
    return result.config_hash == digest and result.status != "complete"
