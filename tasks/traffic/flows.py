"""Bidirectional flows of a capture: packets grouped by their two endpoints and protocol.

Letters: N packets, F flows.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnexp.data.base import DataError
from tasks.traffic.capture import Capture
from tasks.traffic.headers import REASONS, TCP, decode


@dataclass(frozen=True)
class Flows:
    """Packets of F flows, sorted by flow, direction and time.

    Direction 0 of flow f is `[first[f, 0], first[f, 1])` of `time` (seconds since 1970, or since
    the first packet of that direction where the source kept no common clock) and `size` (bytes of
    the IP datagram), direction 1 is `[first[f, 1], first[f + 1, 0])`. Direction 0 is the one seen
    first. `names` are the endpoints as `tcp 10.0.0.1:4123-10.0.0.2:443`, direction 0's source
    first.
    """

    time: np.ndarray
    size: np.ndarray
    first: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class CaptureFlows:
    """What one capture held: its flows, all packets and bytes on the wire, and what was dropped.

    `dropped` counts packets by reason (`headers.REASONS`). `damage` is None, or says why the file
    could not be read to its end.
    """

    flows: Flows
    packets: int
    wire_bytes: int
    dropped: dict[str, int]
    damage: str | None


class FlowTable:
    """Groups packets by flow, chunk by chunk; holds 17 bytes a packet, whatever its length."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._columns: list[tuple[np.ndarray, ...]] = []

    def add(self, time: np.ndarray, size: np.ndarray, key: np.ndarray, forward: np.ndarray) -> None:
        """Add packets: time [N] in seconds, size [N], key [N, 5] and forward [N] of `Headers`."""
        if not len(time):
            return
        order = np.lexsort(key.T)
        ordered = key[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (ordered[1:] != ordered[:-1]).any(1)
        numbers = np.array(
            [self._numbers.setdefault(row.tobytes(), len(self._numbers)) for row in ordered[new]]
        )
        flow = np.empty(len(order), np.int32)
        flow[order] = numbers[np.cumsum(new) - 1]
        self._columns.append((flow, forward, time, size.astype(np.int32)))

    def flows(self) -> Flows:
        """Return all flows, numbered by the time of their first packet."""
        if not self._columns:
            none = np.zeros(0)
            return Flows(none, none.astype(np.int32), np.zeros((1, 2), np.int64), ())
        flow, forward, time, size = (np.concatenate(c) for c in zip(*self._columns, strict=True))
        self._columns.clear()
        keys = np.frombuffer(b"".join(self._numbers), np.uint64).reshape(-1, 5)
        by_time = np.lexsort((time, flow))
        opening = by_time[np.searchsorted(flow[by_time], np.arange(len(keys)))]
        rank = np.empty(len(keys), np.int32)
        by_opening = np.argsort(time[opening], kind="stable")
        rank[by_opening] = np.arange(len(keys), dtype=np.int32)
        # direction 0 goes the way of the flow's first packet
        back = forward != forward[opening][flow]
        place = rank[flow].astype(np.int64) * 2 + back
        order = np.lexsort((time, place))
        first = np.searchsorted(place[order], np.arange(2 * len(keys) + 2)).reshape(-1, 2)
        onward = forward[opening]
        names = tuple(flow_name(keys[f], bool(onward[f])) for f in by_opening)
        return Flows(time[order], size[order], first, names)


def flow_name(key: np.ndarray, forward: bool) -> str:
    """Return `tcp <ip>:<port>-<ip>:<port>` of a flow key; the sender is first."""
    high_a, low_a, high_b, low_b, rest = (int(word) for word in key)
    version, protocol = rest >> 40, rest >> 32 & 0xFF
    address = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    ends = [
        (address(high_a << 64 | low_a), rest >> 16 & 0xFFFF),
        (address(high_b << 64 | low_b), rest & 0xFFFF),
    ]
    form = "{}:{}" if version == 4 else "[{}]:{}"
    source, target = (form.format(*end) for end in (ends if forward else ends[::-1]))
    return f"{'tcp' if protocol == TCP else 'udp'} {source}-{target}"


def read_flows(path: Path) -> CaptureFlows:
    """Read one capture, in chunks.

    Raises DataError where the file is no capture; damage further on is told in the result.
    """
    capture, table = Capture(path), FlowTable()
    packets = wire_bytes = 0
    reasons: Counter[int] = Counter()
    try:
        for chunk in capture:
            headers = decode(chunk)
            packets += len(chunk)
            wire_bytes += int(chunk.wire.sum())
            reasons.update(dict(enumerate(np.bincount(headers.reason).tolist())))
            good = headers.reason == 0
            table.add(
                chunk.time[good], headers.size[good], headers.key[good], headers.forward[good]
            )
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    dropped = {REASONS[code]: count for code, count in sorted(reasons.items()) if code and count}
    return CaptureFlows(table.flows(), packets, wire_bytes, dropped, capture.damage)
