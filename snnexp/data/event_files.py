"""Where the files of an event-camera task are: found, fetched, or made as the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from snnexp.data import event_camera
from snnexp.data.base import DataError, TaskDataModule
from snnexp.data.cache import cached
from snnexp.data.download import Remote, download_and_unpack


def sample_folder(
    task: TaskDataModule, name: str, build: Callable[[Path], None], sources: list[ModuleType]
) -> Path:
    """Return the folder of a task's sample data, making it once; `sources` are what made it."""
    return cached(
        task.cache_dir / "samples" / name,
        {"task": name},
        [event_camera, *sources],
        build,
        f"the sample data of {name}",
    )


def find_root(data_dir: Path, folders: Sequence[str], marker: str, how_to_get: str) -> Path:
    """Return the first of `data_dir`/folder and `data_dir` itself that holds `marker`.

    Raises DataError that says what was looked for and how to get it.
    """
    places = [data_dir / folder for folder in folders] + [data_dir]
    for place in places:
        if (place / marker).exists():
            return place
    looked = ", ".join(str(place) for place in places)
    raise DataError(f"no {marker} in {looked} (data_dir={data_dir}).\n{how_to_get}")


def find_or_fetch(
    data_dir: Path,
    folders: Sequence[str],
    marker: str,
    how_to_get: str,
    archives: Mapping[str, Remote],
) -> Path:
    """Return what `find_root` finds; where nothing is, fetch the archives.

    Each is unpacked to `data_dir`/(first of the folders)/(its key). Archives may have a folder of
    the same name inside: look for files with `inner`. Raises DataError that says how to do it by
    hand.
    """
    try:
        return find_root(data_dir, folders, marker, how_to_get)
    except DataError as missing:
        try:
            for name, remote in archives.items():
                download_and_unpack(remote, data_dir / folders[0] / name)
        except DataError as error:
            raise DataError(f"{missing}\n{error}") from error
    return find_root(data_dir, folders, marker, how_to_get)


def inner(folder: Path) -> Path:
    """Return folder/<its own name> where an archive brought that along, else the folder."""
    return folder / folder.name if (folder / folder.name).is_dir() else folder
