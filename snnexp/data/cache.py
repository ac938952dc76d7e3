"""A folder built once, keyed by the config and source files that made it, never half-written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock

from snnexp.data.base import DataError

MANIFEST = "manifest.json"


def digest(key: Mapping[str, Any], sources: Sequence[Path | ModuleType]) -> str:
    """Return the 16-digit hash of a JSON-able key and of the bytes of the sources."""
    h = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode())
    for source in sources:
        h.update(_source_path(source).read_bytes())
    return h.hexdigest()[:16]


def cached(
    folder: Path,
    key: Mapping[str, Any],
    sources: Sequence[Path | ModuleType],
    build: Callable[[Path], None],
    what: str,
) -> Path:
    """Return the finished folder `<folder>/<hash of key and sources>`, building it at most once.

    `build(path)` fills an empty temporary sibling. The manifest (key, source hashes) is written
    last, then the sibling takes its final name: a folder with the final name is always complete.
    A second process waits for the first. If `build` fails, nothing stays behind.

    Raises DataError, naming `what` and the folder, where the folder cannot be written or the disk
    is full; an error of `build` itself is passed on.
    """
    final = folder / digest(key, sources)
    if (final / MANIFEST).is_file():
        return final
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):
            if not (final / MANIFEST).is_file():
                _build(final, key, sources, build)
    except OSError as error:
        raise DataError(
            f"{what} could not be written below {folder}: {error.strerror or error}. "
            "Nothing half-written was kept. Free some space, or point cache_dir=<folder> "
            "at a disk you can write to."
        ) from error
    return final


def _build(
    final: Path,
    key: Mapping[str, Any],
    sources: Sequence[Path | ModuleType],
    build: Callable[[Path], None],
) -> None:
    """Build into a sibling, then rename. The lock is held, so older siblings are leftovers."""
    for leftover in final.parent.glob(f"{final.name}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = final.with_name(f"{final.name}.tmp-{os.getpid()}")
    temporary.mkdir()
    try:
        build(temporary)
        manifest = {
            "key": dict(key),
            "sources": {_source_path(s).name: _sha(_source_path(s)) for s in sources},
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        text = json.dumps(manifest, indent=1, sort_keys=True, default=str)
        (temporary / MANIFEST).write_text(text + "\n")
        temporary.replace(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _source_path(source: Path | ModuleType) -> Path:
    if isinstance(source, ModuleType):
        if source.__file__ is None:
            raise ValueError(f"module {source.__name__} has no source file")
        return Path(source.__file__)
    return source


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
