"""FlowPic's parsed rows: one line a unidirectional flow, paired here as Rasteh et al. 2022 do.

A row is: capture, source address, source port, target address, target port, TCP or UDP, start time,
n, n times in seconds since the first, an empty field, n sizes of IP datagrams.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snnexp.data.base import DataError
from tasks.traffic.flows import Flows


class Row(NamedTuple):
    """One direction: its capture, its ends (source, target), protocol, times and sizes."""

    capture: str
    ends: tuple[tuple[str, str], tuple[str, str]]
    protocol: str
    time: np.ndarray
    size: np.ndarray


def read_rows(path: Path) -> Iterator[tuple[str, Flows, Mapping[str, int]]]:
    """Yield the flows of each capture named in a file, in order of appearance.

    Direction 0 of a flow is whichever row comes first. `Flows.time` is the row's start time plus
    its times. Raises DataError, naming the line, where a line is no such row.
    """
    captures: dict[str, dict[tuple[object, ...], list[Row]]] = {}
    for row in _rows(path):
        pairs = captures.setdefault(row.capture, {})
        back = (row.protocol, row.ends[::-1])
        mate = pairs.get(back)
        if mate is not None and len(mate) == 1:
            mate.append(row)
        elif (row.protocol, row.ends) in pairs:
            raise DataError(f"{path}: {_name(row)} of {row.capture} stands there twice")
        else:
            pairs[row.protocol, row.ends] = [row]
    for capture, pairs in captures.items():
        flows = list(pairs.values())
        rows = [row for flow in flows for row in flow]
        counts = {
            "rows": len(rows),
            "packets": sum(len(row.time) for row in rows),
            "flows without their other direction": sum(len(flow) == 1 for flow in flows),
        }
        yield capture, _flows(flows), counts


def _flows(flows: list[list[Row]]) -> Flows:
    lengths = np.array([[len(f[0].time), len(f[1].time) if f[1:] else 0] for f in flows], np.int64)
    ends = np.append(0, np.cumsum(lengths.ravel()))
    # one more row, so that the end of the last flow is the start of the next
    first = np.append(ends, ends[-1]).reshape(-1, 2)
    return Flows(
        time=np.concatenate([row.time for flow in flows for row in flow]),
        size=np.concatenate([row.size for flow in flows for row in flow]),
        first=first,
        names=tuple(_name(flow[0]) for flow in flows),
    )


def _name(row: Row) -> str:
    (source, port), (target, other) = row.ends
    return f"{row.protocol.lower()} {source}:{port}-{target}:{other}"


def _rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, fields in enumerate(csv.reader(file), 1):
                if fields:
                    yield _row(fields, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as FlowPic's CSV: {error}") from error


def _row(fields: list[str], where: str) -> Row:
    try:
        n = int(fields[7])
        start = float(fields[6])
        times, sizes = np.array(fields[8 : 8 + n], float), np.array(fields[9 + n :], np.int32)
    except (IndexError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where} is no row of FlowPic's (capture, address, port, address, port, protocol,"
            f" start, n, n times, empty, n sizes): {error}"
        ) from error
    if n < 1 or len(times) != n or len(sizes) != n or fields[8 + n] != "":
        raise DataError(
            f"{where} announces {n} packets but holds {len(times)} times and {len(sizes)} sizes,"
            " or lacks the empty field between them"
        )
    if not np.isfinite(start):
        raise DataError(f"{where}: start time {start} is no time")
    if not np.isfinite(times).all() or times[0] != 0 or sizes.min() < 0:
        raise DataError(
            f"{where}: times must be numbers that start at 0, sizes must not be below 0"
        )
    order = np.argsort(times, kind="stable")
    capture, source, port, target, other, protocol = fields[:6]
    ends = ((source, port), (target, other))
    return Row(capture, ends, protocol, start + times[order], sizes[order])
