"""Unpack an archive completely or not at all, and nothing outside its folder."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from snnexp.data.base import DataError


class _Member(NamedTuple):
    """One entry: where it goes, and how to open it (None for a folder)."""

    path: PurePosixPath
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, target: Path, finish: Callable[[Path], None]) -> None:
    """Unpack a tar (any compression) or zip archive into the new folder `target`.

    The contents go to a temporary sibling; `finish` writes the manifest into it; then it takes
    the name `target`. Only regular files and folders are accepted. Raises DataError for a member
    that would land outside the folder, a link or a device, a damaged archive, or an unknown
    format; OSError (disk full) is passed on. In every case nothing half-unpacked stays.
    """
    temporary = target.with_name(f".{target.name}.unpacking-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        try:
            _extract(archive, temporary)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise DataError(_damaged(archive, error)) from error
        except OSError as error:
            # gzip and lzma report damaged data as an OSError without a number.
            if error.errno is None:
                raise DataError(_damaged(archive, error)) from error
            raise
        finish(temporary)
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _damaged(archive: Path, error: Exception) -> str:
    return f"{archive} is damaged or cut short ({error}). Delete it and fetch it again"


def _extract(archive: Path, folder: Path) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with archive.open("rb") as raw, Progress(*columns) as progress:
        task = progress.add_task(f"Unpacking {archive.name}", total=archive.stat().st_size)
        for member in _members(archive, raw):
            _place(member, archive, folder)
            progress.update(task, completed=raw.tell())


def _place(member: _Member, archive: Path, folder: Path) -> None:
    path = member.path
    if path.is_absolute() or ".." in path.parts or "\\" in str(path):
        raise DataError(
            f"{archive} holds {str(path)!r}, which would be written outside {folder.parent}; "
            "it was not unpacked. Fetch the archive again from its official address"
        )
    source = member.open()
    destination = folder / path
    if source is None:
        destination.mkdir(parents=True, exist_ok=True)
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    with source, destination.open("xb") as file:
        shutil.copyfileobj(source, file)


def _members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    if zipfile.is_zipfile(raw):
        raw.seek(0)
        yield from _zip_members(archive, raw)
        return
    raw.seek(0)
    with tarfile.open(fileobj=raw, mode="r:*") as tar:
        for info in tar:
            if not (info.isreg() or info.isdir()):
                raise _refused(archive, info.name)
            yield _Member(PurePosixPath(info.name), _tar_opener(tar, info))


def _tar_opener(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes] | None]:
    return lambda: None if info.isdir() else tar.extractfile(info)


def _zip_members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as bundle:
        for info in bundle.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, info.filename)
            if info.flag_bits & 1:
                raise DataError(f"{archive} is encrypted ({info.filename}); expected a plain zip")
            yield _Member(PurePosixPath(info.filename), _zip_opener(bundle, info))


def _zip_opener(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes] | None]:
    return lambda: None if info.is_dir() else bundle.open(info)


def _refused(archive: Path, name: str) -> DataError:
    return DataError(
        f"{archive} holds {name!r}, which is neither a file nor a folder (a link or a device); "
        "it was not unpacked. Fetch the archive again from its official address"
    )
