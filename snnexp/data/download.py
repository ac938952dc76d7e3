"""Fetch official files: resume, checksum, unpack to a temporary name, rename.

A file appears under its final name only when it is complete and its checksum is right; a folder
only when the whole archive is unpacked into it, with a manifest written last. What a cut
connection leaves is a `.part` file that the next try goes on with.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from snnexp.data.base import DataError
from snnexp.data.unpack import unpack

MANIFEST = "manifest.json"
#: environment variable: where it is set and not empty, what is not there is not fetched
OFFLINE = "SNNEXP_OFFLINE"
_BLOCK = 1 << 18
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Remote:
    """An official file: its name, its addresses in order of preference, `md5:...` or `sha256:...`.

    `checksum` is None where no source publishes one; then only the length is checked. `title` is
    what an error calls it.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str | None
    title: str


def download(remote: Remote, folder: Path, *, tries: int = 4, pause: float = 1.0) -> Path:
    """Return `folder/name`, downloading it where it is not there; a file put there by hand serves.

    Each address gets `tries` attempts without progress, `pause`, 2 `pause`, ... seconds apart;
    an attempt goes on where the last one stopped if the server allows it.
    Raises DataError naming the file, the addresses and the folder: no network, a wrong checksum
    (a downloaded file is then removed, one put there by hand is kept), a full or read-only disk.
    """
    final = folder / remote.name
    _check_allowed(remote, folder)
    with _disk_errors(remote, folder):
        folder.mkdir(parents=True, exist_ok=True)
        if final.is_file():
            _verify(final, remote)
            return final
        with FileLock(folder / f".{remote.name}.lock"):
            if not final.is_file():
                part = folder / f"{remote.name}.part"
                _fetch(remote, part, tries, pause)
                try:
                    _verify(part, remote)
                except DataError:
                    _forget(part)
                    raise
                part.replace(final)
                _state(part).unlink(missing_ok=True)
    return final


def download_and_unpack(
    remote: Remote, target: Path, *, tries: int = 4, pause: float = 1.0
) -> Path:
    """Return the folder `target` with the archive's contents, fetching it where it is not there.

    The archive is looked for, and put, beside `target`; one that was downloaded here is removed
    once it is unpacked, one put there by hand is kept. The folder's manifest.json says what it was.
    """
    if target.is_dir():
        return target
    parent = target.parent
    _check_allowed(remote, parent)
    with _disk_errors(remote, parent):
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f".{target.name}.lock"):
            if target.is_dir():
                return target
            by_hand = (parent / remote.name).is_file()
            archive = download(remote, parent, tries=tries, pause=pause)
            unpack(archive, target, lambda folder: _write_manifest(folder, remote, archive))
            if not by_hand:
                archive.unlink()
    return target


def _check_allowed(remote: Remote, folder: Path) -> None:
    """Raise DataError, before anything is made, where a file would have to be fetched offline."""
    if os.environ.get(OFFLINE) and not (folder / remote.name).is_file():
        raise DataError(
            f"{remote.title} is not there, and downloads are off ({OFFLINE} is set). "
            f"Fetch it with make data-<task>, or {by_hand(remote, folder)}"
        )


def by_hand(remote: Remote, folder: Path) -> str:
    """Say how to get the file without this program."""
    checksum = f" ({remote.checksum})" if remote.checksum else ""
    return f"fetch {remote.urls[0]}{checksum} and put it, packed as it is, into {folder}"


def _write_manifest(folder: Path, remote: Remote, archive: Path) -> None:
    files = [p for p in folder.rglob("*") if p.is_file()]
    facts = {
        "title": remote.title,
        "urls": list(remote.urls),
        "checksum": remote.checksum or f"sha256:{_hash(archive, 'sha256')}",
        "files": len(files),
        "bytes": sum(p.stat().st_size for p in files),
    }
    (folder / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")


@contextmanager
def _disk_errors(remote: Remote, folder: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            what = "the disk is full; free some space and start again, the download goes on"
        else:
            what = f"{error.strerror or error}; make the folder writable, or use another data_dir"
        raise DataError(
            f"{remote.title} could not be stored in {folder}: {what}. Or {by_hand(remote, folder)}"
        ) from error


def _verify(path: Path, remote: Remote) -> None:
    """Raise DataError where the checksum is published and the file's is another."""
    if remote.checksum is None:
        return
    algorithm, expected = remote.checksum.split(":")
    got = _hash(path, algorithm)
    if got != expected:
        raise DataError(
            f"{path.with_name(remote.name)} is damaged: its {algorithm} is {got}, expected "
            f"{expected}. Delete it and start again, or {by_hand(remote, path.parent)}"
        )


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


class _NoProgressError(Exception):
    """One attempt ended before the file was complete; the text says how."""


def _fetch(remote: Remote, part: Path, tries: int, pause: float) -> None:
    """Fill `part`, from the first address that gives the whole file."""
    reasons = []
    for url in remote.urls:
        failed = 0
        while failed < tries:
            before = _size(part)
            try:
                _attempt(url, remote, part)
                return
            except _NoProgressError as error:
                failed = 0 if _size(part) > before else failed + 1
                reason = f"{url}: {error}"
                if _is_final(error.__cause__):
                    break
                if failed < tries:
                    time.sleep(pause * 2 ** max(0, failed - 1))
        reasons.append(reason)
    kept = _size(part)
    resume = f" {kept:,} bytes are kept; the next try goes on from there." if kept else ""
    raise DataError(
        f"{remote.title} could not be downloaded ({'; '.join(reasons)}).{resume} "
        f"Or {by_hand(remote, part.parent)}"
    )


def _is_final(error: BaseException | None) -> bool:
    """Whether the server said no (404, 403), so that asking again is useless."""
    return isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500


def _attempt(url: str, remote: Remote, part: Path) -> None:
    """Make one request and append what comes. Raises _NoProgressError where that is not all."""
    start, headers = _resume_headers(remote, part)
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            # The kept bytes are as many as the file has, or more: only the checksum can tell.
            if remote.checksum is not None and _hash_is_right(part, remote):
                return
            _forget(part)
        raise _NoProgressError(f"HTTP {error.code} {error.reason}") from error
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise _NoProgressError(str(getattr(error, "reason", error))) from error
    with response:
        if response.status != 206:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        _check_room(part, total, start)
        _remember(part, response.headers)
        _copy(response, part, start, total, remote.title)
    if total is not None and _size(part) < total:
        raise _NoProgressError(f"the connection ended at byte {_size(part):,} of {total:,}")


def _resume_headers(remote: Remote, part: Path) -> tuple[int, dict[str, str]]:
    """Ask for the rest, if the server can tell that it is the rest of the same file."""
    headers = {"User-Agent": "snnexp", "Accept-Encoding": "identity"}
    start, validator = _size(part), _validator(part)
    if start == 0 or (validator is None and remote.checksum is None):
        return 0, headers
    headers["Range"] = f"bytes={start}-"
    if validator is not None:
        headers["If-Range"] = validator
    return start, headers


def _copy(response: Any, part: Path, start: int, total: int | None, title: str) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress, part.open("ab" if start else "wb") as file:
        task = progress.add_task(f"Fetching {title}", total=total, completed=start)
        while True:
            try:
                block = response.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _NoProgressError(f"the connection broke ({error})") from error
            if not block:
                return
            file.write(block)
            progress.advance(task, len(block))


def _check_room(part: Path, total: int | None, start: int) -> None:
    """Fail before the first byte where the disk cannot hold the rest."""
    if total is not None and shutil.disk_usage(part.parent).free < total - start:
        raise OSError(errno.ENOSPC, f"{total - start:,} bytes are needed", str(part.parent))


def _hash_is_right(part: Path, remote: Remote) -> bool:
    try:
        _verify(part, remote)
    except DataError:
        return False
    return True


def _state(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember(part: Path, headers: Any) -> None:
    """Keep the server's name of this version of the file; weak tags cannot serve ranges."""
    tag = headers.get("ETag")
    validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    _state(part).write_text(json.dumps({"validator": validator}))


def _validator(part: Path) -> str | None:
    try:
        return json.loads(_state(part).read_text())["validator"]
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
