"""The `.bin` files of N-MNIST: five bytes an event.

    byte 0: x    byte 1: y    byte 2, bit 7: polarity, 1 for ON
    byte 2, bits 6-0, then bytes 3 and 4: time in microseconds, 23 bits, highest first

Source: Orchard et al. 2015, Frontiers in Neuroscience 9, 437.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from snnexp.data.base import DataError
from snnexp.data.events import Events, OnBad

BYTES = 5


def read_bin(path: Path, on_bad: OnBad, notes: Counter[str]) -> Events:
    """Return the events of one recording.

    A file whose length is no multiple of five is an error; with `on_bad=drop` its last, incomplete
    event is left out and the file counted.
    """
    raw = np.fromfile(path, np.uint8)
    rest = len(raw) % BYTES
    if rest:
        if on_bad == "error":
            raise DataError(
                f"{path} has {len(raw)} bytes, no multiple of {BYTES}: it is cut off. Fetch it "
                "again, or set task.on_bad=drop to leave its last event out"
            )
        notes["truncated files"] += 1
        raw = raw[:-rest]
    byte = raw.reshape(-1, BYTES)
    t = (byte[:, 2] & 127).astype(np.int64) << 16 | byte[:, 3].astype(np.int64) << 8 | byte[:, 4]
    return Events(byte[:, 0], byte[:, 1], t, byte[:, 2] >> 7)


def write_bin(path: Path, events: Events) -> None:
    """Write events as one recording; times below 2^23 us."""
    if len(events) and events.t[-1] >= 1 << 23:
        raise ValueError(f"{path}: a time of {events.t[-1]} us does not fit 23 bits")
    byte = np.empty((len(events), BYTES), np.uint8)
    byte[:, 0], byte[:, 1] = events.x, events.y
    byte[:, 2] = (events.p << 7) | (events.t >> 16)
    byte[:, 3], byte[:, 4] = events.t >> 8 & 255, events.t & 255
    byte.tofile(path)
