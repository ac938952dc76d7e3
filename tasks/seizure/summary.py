"""Reader and writer of CHB-MIT summary files: which recording holds which seizures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from snnexp.data.base import DataError

Interval = tuple[float, float]

_FILE = re.compile(r"^File Name:\s*(?P<name>\S+)\s*$", re.IGNORECASE)
_COUNT = re.compile(r"^Number of Seizures in File:\s*(?P<n>\d+)\s*$", re.IGNORECASE)
_TIME = re.compile(
    r"^Seizure\s*(?P<k>\d+)?\s*(?P<edge>Start|End) Time:\s*(?P<s>\d+(?:\.\d+)?)\s*(?:s|seconds?)?$",
    re.IGNORECASE,
)


def read_summary(path: Path) -> dict[str, list[Interval]]:
    """Return the seizures (start, end in seconds) of each recording a summary file names.

    Both spellings of the collection are read, 'Seizure Start Time: 2996 seconds' and
    'Seizure 1 Start Time: 327 seconds'; clock times and channel lists are not needed. Raises
    DataError where the count and the times disagree or an end precedes its start.
    """
    seizures: dict[str, list[Interval]] = {}
    declared: dict[str, int] = {}
    name, start = "", None
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{path}: the summary file cannot be read ({error.strerror})") from error
    for number, raw in enumerate(lines, 1):
        line, where = raw.strip(), f"{path}, line {number}"
        if match := _FILE.match(line):
            if start is not None:
                raise DataError(f"{where}: seizure of {name} starts at {start:g} s and never ends")
            name = match["name"]
            seizures.setdefault(name, [])
        elif match := _COUNT.match(line):
            if not name:
                raise DataError(f"{where}: '{line}' does not follow a file name")
            declared[name] = int(match["n"])
        elif match := _TIME.match(line):
            seconds = float(match["s"])
            if not name or (match["edge"].lower() == "end") == (start is None):
                raise DataError(f"{where}: '{line}' does not follow its file name or start time")
            if start is None:
                start = seconds
                continue
            if seconds <= start:
                raise DataError(
                    f"{where}: seizure of {name} ends at {seconds:g} s, before {start:g} s"
                )
            seizures[name].append((start, seconds))
            start = None
        elif line.lower().startswith("seizure") and "time" in line.lower():
            raise DataError(
                f"{where}: cannot read '{line}'; expected 'Seizure Start Time: <n> seconds'"
            )
    if start is not None:
        raise DataError(f"{path}: seizure of {name} starts at {start:g} s and never ends")
    if not seizures:
        raise DataError(
            f"{path}: names no recording ('File Name: <name>.edf'); is it a summary file?"
        )
    for name, count in declared.items():
        if count != len(seizures[name]):
            raise DataError(
                f"{path}: {name} announces {count} seizures but lists {len(seizures[name])}"
            )
    return seizures


def write_summary(
    path: Path, rate: float, channels: Sequence[str], seizures: Mapping[str, Sequence[Interval]]
) -> None:
    """Write a summary file in the collection's layout."""
    lines = [f"Data Sampling Rate: {rate:g} Hz", "*" * 25, "", "Channels in EDF Files:", "*" * 22]
    lines += [f"Channel {k}: {name}" for k, name in enumerate(channels, 1)]
    for name, intervals in seizures.items():
        lines += ["", f"File Name: {name}", f"Number of Seizures in File: {len(intervals)}"]
        for k, (start, end) in enumerate(intervals, 1):
            number = f" {k}" if len(intervals) > 1 else ""
            lines.append(f"Seizure{number} Start Time: {start:g} seconds")
            lines.append(f"Seizure{number} End Time: {end:g} seconds")
    path.write_text("\n".join(lines) + "\n")
