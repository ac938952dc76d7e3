"""Reader of the Bonn EEG sets A-E: 500 single-channel segments as text files or in zip archives.

Letters: T samples.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError

FOLDERS = ("Bonn", "BonnEEG", "bonn")
REAL_DATA = (
    "the EEG time series of Andrzejak et al., Phys. Rev. E 64, 061907 (2001): the archives Z.zip, "
    "O.zip, N.zip, F.zip, S.zip (sets A-E), https://www.upf.edu/web/ntsa/downloads (free for "
    "research, cite). Put the archives, or the unpacked text files, to <data_dir>/Bonn"
)

#: samples per second and per segment of the published files
RATE, LENGTH = 173.61, 4097
#: segments of the complete sets
SEGMENTS = 500
#: first letter of a file name -> set
SETS = {"Z": "A", "O": "B", "N": "C", "F": "D", "S": "E"}

_NAME = re.compile(r"^(?P<letter>[ZONFS])(?P<number>\d{3})\.txt$", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """One segment: set A-E, number, and its text file (within `archive` where that is given)."""

    set: str
    number: int
    path: str
    archive: Path | None


def find_root(data_dir: Path) -> Path:
    """Return the folder that holds the sets; raise DataError with what to fetch."""
    for root in (*(data_dir / name for name in FOLDERS), data_dir):
        if root.is_dir() and (any(root.glob("*.zip")) or any(_text_files(root))):
            return root
    raise DataError(
        f"no Bonn sets below data_dir={data_dir}: expected zip archives or files such as Z001.txt "
        f"there or in {FOLDERS[0]}/. Needed are {REAL_DATA}"
    )


def _text_files(root: Path) -> list[Path]:
    """Return the segments' files in root or in folders up to two levels below."""
    files = [path for level in ("*", "*/*", "*/*/*") for path in root.glob(level)]
    return sorted(path for path in files if _NAME.match(path.name) and path.is_file())


def list_segments(root: Path) -> list[Segment]:
    """List all segments, by set and number.

    The set is told by the file's first letter (Z, O, N, F, S = A, B, C, D, E), whatever the
    folders are called (Z, A_Z, setA, ...) and in whatever case the extension is: set C comes with
    .TXT. Text files win over archives. Raises DataError for a segment that occurs twice and for a
    set that is missing.
    """
    segments: dict[tuple[str, int], Segment] = {}

    def add(name: str, path: str, archive: Path | None) -> None:
        match = _NAME.match(name)
        if match is None:
            return
        key = SETS[match["letter"].upper()], int(match["number"])
        if key in segments:
            raise DataError(
                f"segment {name} occurs twice below {root}: {segments[key].path} and {path}"
            )
        segments[key] = Segment(*key, path, archive)

    for file in _text_files(root):
        add(file.name, str(file), None)
    if not segments:
        for archive in sorted(root.glob("*.zip")):
            try:
                with zipfile.ZipFile(archive) as content:
                    for member in content.namelist():
                        add(PurePosixPath(member).name, member, archive)
            except DataError:
                raise
            except Exception as error:  # zipfile raises whatever damaged bytes lead it into
                raise DataError(f"{archive}: not a readable zip archive ({error})") from error
    missing = [s for s in SETS.values() if not any(key[0] == s for key in segments)]
    if missing:
        raise DataError(f"{root} lacks the Bonn sets {missing}. Needed are {REAL_DATA}")
    return [segments[key] for key in sorted(segments)]


def read_segment(segment: Segment) -> NDArray[np.float32]:
    """Return the samples [T] of one segment; raise DataError where it cannot be used."""
    where = f"{segment.archive}, {segment.path}" if segment.archive else segment.path
    try:
        if segment.archive is None:
            text = Path(segment.path).read_bytes()
        else:
            with zipfile.ZipFile(segment.archive) as archive:
                text = archive.read(segment.path)
    except Exception as error:  # zipfile raises whatever damaged bytes lead it into
        raise DataError(f"{where}: cannot be read ({error})") from error
    return parse_segment(text, where)


def parse_segment(text: bytes, where: str) -> NDArray[np.float32]:
    """Return the samples of one text file: one number a line, 4,097 lines."""
    words = text.split()
    try:
        values = np.array([float(word) for word in words], dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{where}: not a list of numbers ({error})") from error
    if len(values) != LENGTH or not np.isfinite(values).all():
        raise DataError(f"{where}: expected {LENGTH} finite samples, one a line; got {len(values)}")
    return values
