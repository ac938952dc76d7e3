"""AEDAT event files: 3.1 and 2.0 read and written here, 4.0 read through the `aedat` package.

Tonic 1.7 reads the older two no more (its header function returns one value too many) and never
looked at a packet's type or its overflow counter; other readers for Python are years old.

A truncated file is an error, or with `on_bad=drop` it ends before its first incomplete packet.
What was left out is counted in `notes`: truncated files, events marked invalid, special events.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from snnexp.data.base import DataError
from snnexp.data.events import Events, OnBad

PACKET = np.dtype(
    [("type", "<i2"), ("source", "<i2")]
    + [(name, "<i4") for name in ("size", "offset", "overflow", "capacity", "number", "valid")]
)
EVENT31 = np.dtype([("data", "<u4"), ("t", "<i4")])
EVENT2 = np.dtype([("address", ">u4"), ("t", ">i4")])
POLARITY_EVENT = 1


def _header(raw: bytes | mmap.mmap, path: Path, version: str) -> int:
    """Check the version line; return where the header ends.

    3.1 ends with a line of its own; in 2.0 the first line without # belongs to the data.
    """
    first = bytes(raw[:80]).split(b"\n", 1)[0].strip()
    if first != f"#!AER-DAT{version}".encode():
        raise DataError(f"{path} starts with {first[:40]!r}: it is no AEDAT {version} file")
    position = 0
    while bytes(raw[position : position + 1]) == b"#":
        end = raw.find(b"\n", position) + 1
        if not end:
            raise DataError(f"{path}: the AEDAT header has no end; the file is cut off")
        line, position = bytes(raw[position:end]).strip(), end
        if line == b"#!END-HEADER":
            break
    return position


def _truncated(path: Path, what: str, at: int, on_bad: OnBad, notes: Counter[str]) -> None:
    if on_bad == "error":
        raise DataError(
            f"{path}: {what} at byte {at} is cut off. Fetch the file again, or set "
            "task.on_bad=drop to use what comes before"
        )
    notes["truncated files"] += 1


def iter_aedat31(path: Path, on_bad: OnBad, notes: Counter[str]) -> Iterator[Events]:
    """Yield the polarity events of an AEDAT 3.1 file packet by packet; x right, y down.

    A packet has a header of 28 bytes (type, source, event size, overflow counter, capacity,
    number, ...) and `capacity` events. A polarity event is 32 bits, valid (1) polarity (1) y (15)
    x (15) from the lowest up, and 31 bits of time in microseconds below the overflow counter.
    Events whose valid bit is unset, and packets of other types, are passed over.
    """
    with path.open("rb") as file:
        try:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise DataError(f"{path} is empty") from error
    position = _header(raw, path, "3.1")
    while position < len(raw):
        body = position + PACKET.itemsize
        if body > len(raw):
            return _truncated(path, "the header of a packet", position, on_bad, notes)
        head = np.frombuffer(raw, PACKET, 1, position)[0]
        size, capacity, number = int(head["size"]), int(head["capacity"]), int(head["number"])
        is_polarity = head["type"] == POLARITY_EVENT
        if size <= 0 or not 0 <= number <= capacity or (is_polarity and size != EVENT31.itemsize):
            raise DataError(
                f"{path}: the packet at byte {position} says {number} of {capacity} events of "
                f"{size} bytes; the file is damaged"
            )
        if body + capacity * size > len(raw):
            return _truncated(path, f"a packet of {number} events", position, on_bad, notes)
        position = body + capacity * size
        if is_polarity:
            packed = np.frombuffer(raw, EVENT31, number, body)
            valid = (packed["data"] & 1) == 1
            if not valid.all():
                notes["events marked invalid"] += int(number - valid.sum())
                packed = packed[valid]
            yield _unpack31(packed, int(head["overflow"]))
    return None


def _unpack31(packed: np.ndarray, overflow: int) -> Events:
    data = packed["data"]
    return Events(
        (data >> 17).astype(np.int16),
        ((data >> 2) & 0x7FFF).astype(np.int16),
        packed["t"].astype(np.int64) + (overflow << 31),
        ((data >> 1) & 1).astype(np.uint8),
    )


def read_aedat31(path: Path, on_bad: OnBad, notes: Counter[str]) -> Events:
    """Return all polarity events of an AEDAT 3.1 file; see `iter_aedat31`."""
    return Events.concatenate(iter_aedat31(path, on_bad, notes))


def write_aedat31(path: Path, events: Events, *, source: str, packet: int = 4096) -> None:
    """Write events as an AEDAT 3.1 file of polarity packets, starting at the epoch."""
    overflow = events.t >> 31
    starts = np.union1d(np.arange(0, len(events), packet), np.flatnonzero(np.diff(overflow)) + 1)
    stops = np.append(starts, len(events))[1:]
    packed = np.empty(len(events), EVENT31)
    columns = [getattr(events, name).astype(np.uint32) for name in ("x", "y", "p")]
    packed["data"] = (columns[0] << 17) | (columns[1] << 2) | (columns[2] << 1) | 1
    packed["t"] = events.t & 0x7FFFFFFF
    with path.open("wb") as file:
        for line in (
            *("#!AER-DAT3.1", "#Format: RAW", f"#Source 1: {source}"),
            *("#Start-Time: 1970-01-01 00:00:00 (TZ+0000)", "#!END-HEADER"),
        ):
            file.write(line.encode() + b"\r\n")
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            n = stop - start
            head = (POLARITY_EVENT, 1, EVENT31.itemsize, 4, int(overflow[start]), n, n, n)
            file.write(np.array([head], PACKET).tobytes() + packed[start:stop].tobytes())


def read_aedat2(path: Path, on_bad: OnBad, notes: Counter[str]) -> Events:
    """Return the events of an AEDAT 2.0 file of a DVS128, as jAER addresses them.

    A record is a big-endian address and time in microseconds. Bit 0 of the address is the
    polarity, 0 for ON (the reading of the PLIF and SEW authors' loader), bits 1-7 are x,
    bits 8-14 are y; addresses with a higher bit are no pixel events and are passed over. Turn the
    picture with `FrameFormat.orientation`.
    """
    raw = path.read_bytes()
    start = _header(raw, path, "2.0")
    n, rest = divmod(len(raw) - start, EVENT2.itemsize)
    if rest:
        _truncated(path, "an event", len(raw) - rest, on_bad, notes)
    record = np.frombuffer(raw, EVENT2, n, start)
    pixel = record["address"] < 1 << 15
    if not pixel.all():
        notes["special events"] += int(n - pixel.sum())
        record = record[pixel]
    address = record["address"].astype(np.uint32)
    return Events(
        ((address >> 1) & 0x7F).astype(np.int16),
        ((address >> 8) & 0x7F).astype(np.int16),
        record["t"].astype(np.int64),
        (1 - (address & 1)).astype(np.uint8),
    )


def write_aedat2(path: Path, events: Events) -> None:
    """Write events of a DVS128, in jAER's x and y, as an AEDAT 2.0 file."""
    record = np.empty(len(events), EVENT2)
    x, y = events.x.astype(np.uint32), events.y.astype(np.uint32)
    record["address"] = (y << 8) | (x << 1) | (1 - events.p.astype(np.uint32))
    record["t"] = events.t
    header = (
        "#!AER-DAT2.0\r\n# Data format is int32 address, int32 timestamp (8 bytes total), repeated "
        "for each event\r\n# Timestamps tick is 1 us\r\n"
    )
    path.write_bytes(header.encode() + record.tobytes())


def read_aedat4(path: Path) -> Events:
    """Return the events of the first event stream of an AEDAT 4.0 file; x right, y down.

    Needs the package `aedat`. Raises DataError where it is missing or cannot decode the file.
    """
    try:
        aedat = import_module("aedat")
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path} is an AEDAT 4 file: pip install aedat to read it, or use the AEDAT 2 files"
        ) from error
    try:
        decoder = aedat.Decoder(str(path))
        streams = [i for i, s in decoder.id_to_stream().items() if s["type"] == "events"]
        parts = [p["events"] for p in decoder if streams and p["stream_id"] == min(streams)]
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be decoded as AEDAT 4: {error}") from error
    if not parts:
        raise DataError(f"{path} holds no events")
    record = np.concatenate(parts)
    return Events(
        record["x"].astype(np.int16),
        record["y"].astype(np.int16),
        record["t"].astype(np.int64),
        record["on"].astype(np.uint8),
    )
