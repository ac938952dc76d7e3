"""Where the recordings come from: found, downloaded, or made."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from snnexp.data.base import DataError
from snnexp.data.download import Remote, download_and_unpack
from tasks.speech.layout import Root, Version, find_root, find_test_archive

_BASE = (
    "https://storage.googleapis.com/download.tensorflow.org/data",
    "http://download.tensorflow.org/data",
)


def _remote(name: str, title: str, checksum: str | None) -> Remote:
    urls = tuple(f"{base}/{name}.tar.gz" for base in _BASE)
    return Remote(name=f"{name}.tar.gz", urls=urls, checksum=checksum, title=title)


ARCHIVES: dict[Version, Remote] = {
    "v0.01": _remote(
        "speech_commands_v0.01",
        "Google Speech Commands v0.01",
        "md5:3cd23799cb2bbdec517f1cc028f8d43c",
    ),
    "v0.02": _remote(
        "speech_commands_v0.02",
        "Google Speech Commands v0.02",
        "md5:6b74f3901214cb2c2934e98196829835",
    ),
}
#: no checksum of the test archives is published in the sources of this project
TEST_ARCHIVES: dict[Version, Remote] = {
    version: _remote(
        f"speech_commands_test_set_{version}",
        f"the test archive of Google Speech Commands {version}",
        None,
    )
    for version in ("v0.01", "v0.02")
}


def get_root(data_dir: Path, version: Literal["auto", "v0.01", "v0.02"]) -> Root:
    """Return the data set in `data_dir`, downloading it where it is not there (auto: v0.02)."""
    root = find_root(data_dir, version)
    if root is not None:
        return root
    wanted: Version = "v0.02" if version == "auto" else version
    target = data_dir / "SpeechCommands" / f"speech_commands_{wanted}"
    try:
        return Root(download_and_unpack(ARCHIVES[wanted], target), wanted)
    except DataError as error:
        other = find_root(data_dir, "auto")
        hint = (
            f". Found {other.version} in {other.path}: task.version={other.version}"
            if other
            else ""
        )
        raise DataError(
            f"{ARCHIVES[wanted].title} is not in data_dir={data_dir} (looked for "
            f"SpeechCommands/{target.name}, {target.name}, and the folder itself). {error}{hint}"
        ) from error


def get_test_archive(data_dir: Path, root: Root) -> Path:
    """Return the separate test archive's folder, downloading it where it is not there."""
    found = find_test_archive(data_dir, root)
    if found is not None:
        return found
    target = data_dir / "SpeechCommands" / f"speech_commands_test_set_{root.version}"
    return download_and_unpack(TEST_ARCHIVES[root.version], target)
