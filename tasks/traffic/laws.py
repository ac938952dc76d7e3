"""Traffic laws of the sample: what five applications send, and what a network makes of it.

Letters: M messages of an application, N packets.

An application is a list of messages (time, direction, bytes). A transport turns messages into
packets: TLS over TCP with acknowledgements, UDP, an OpenVPN-like tunnel, or a Tor connection. Rates
overlap between applications on purpose: what tells them apart is how packets coincide in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SYN, FIN, PUSH, ACK = 0x02, 0x01, 0x08, 0x10


class Messages(NamedTuple):
    """Application messages: time [M] in seconds, up [M] (client to server), bytes [M]."""

    time: np.ndarray
    up: np.ndarray
    bytes: np.ndarray


class Packets(NamedTuple):
    """Packets in time order: time [N], up [N], payload [N] bytes behind TCP or UDP, flags [N]."""

    time: np.ndarray
    up: np.ndarray
    payload: np.ndarray
    flags: np.ndarray


@dataclass(frozen=True)
class Host:
    """What is peculiar to one client and its access: the same for all its flows.

    `segment` is TCP's largest payload, `options` the bytes of TCP options, `bandwidth` in bytes a
    second downwards, `round_trip` in seconds, `jitter` relative; `tunnel` is what the VPN adds to
    each packet, `tunnel_limit` the largest packet it passes in one piece, `cells` the number of
    Tor cells that go into one TLS record.
    """

    segment: int
    options: int
    bandwidth: float
    round_trip: float
    jitter: float
    tunnel: int
    tunnel_limit: int
    cells: int


def draw_host(rng: np.random.Generator) -> Host:
    """Draw the peculiarities of a host."""
    options = int(rng.choice([0, 12]))
    path = int(rng.choice([1500, 1492, 1420], p=[0.6, 0.2, 0.2]))
    return Host(
        segment=path - 40 - options,
        options=options,
        bandwidth=float(rng.lognormal(np.log(250e3), 0.5)),
        round_trip=float(rng.lognormal(np.log(0.05), 0.6)),
        jitter=float(rng.uniform(0.1, 0.6)),
        tunnel=int(rng.choice([25, 41])),
        tunnel_limit=int(rng.choice([1500, 1500, 1300])),
        cells=int(rng.integers(1, 4)),
    )


def _between(rng: np.random.Generator, seconds: float, mean: float, spread: float) -> np.ndarray:
    """Return lognormal arrival times below `seconds`."""
    gaps = rng.lognormal(np.log(mean), spread, int(3 * seconds / mean) + 20)
    times = np.cumsum(gaps) - gaps[0] * rng.random()
    return times[times < seconds]


def _merge(*parts: Messages) -> Messages:
    time, up, size = (np.concatenate(c) for c in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    return Messages(time[order], up[order], np.maximum(size[order].astype(np.int64), 1))


def _same(time: np.ndarray, up: bool, size: np.ndarray) -> Messages:
    return Messages(time, np.full(len(time), up), size)


def video(rng: np.random.Generator, seconds: float) -> Messages:
    """Segments of adaptive streaming: a request, then a burst, then silence until the next."""
    period, volume = rng.uniform(2.0, 6.0), rng.lognormal(np.log(14e3), 0.5)
    requests = np.arange(rng.uniform(0, period), seconds, period)
    requests = requests + rng.normal(0, 0.08 * period, len(requests)).clip(-0.4 * period, None)
    segments = volume * period * rng.lognormal(0, 0.25, len(requests))
    asked = rng.integers(350, 800, len(requests))
    return _merge(_same(requests, True, asked), _same(requests + 0.08, False, segments))


def file_transfer(rng: np.random.Generator, seconds: float) -> Messages:
    """A bulk transfer, up or down: blocks without a pause, now and then a stall."""
    rate, block = rng.lognormal(np.log(14e3), 0.5), rng.uniform(1.2e3, 6e3)
    times = np.arange(0, seconds, block / rate)
    pace = 1 + 0.3 * np.sin(2 * np.pi * times / rng.uniform(5, 20))
    times = np.interp(times, times, np.cumsum(1 / pace) * (block / rate))
    for stall in _between(rng, seconds, 25.0, 0.5):
        times = times + np.where(times > stall, rng.uniform(0.3, 1.5), 0)
    times = times[times < seconds]
    up = bool(rng.random() < 0.4)
    reports = _between(rng, seconds, rng.uniform(4, 10), 0.3)
    return _merge(
        _same(times, up, np.full(len(times), block)),
        _same(reports, not up, rng.integers(350, 800, len(reports))),
    )


def voice(rng: np.random.Generator, seconds: float) -> Messages:
    """Frames of a codec at a fixed pace while one of the two talks, comfort noise otherwise."""
    pace, frame = rng.choice([0.04, 0.06, 0.08]), rng.choice([72, 112, 152, 192])
    ticks = np.arange(rng.uniform(0, pace), seconds, pace)
    turns = np.cumsum(rng.lognormal(np.log(2.5), 0.6, int(seconds) + 20))
    speaker = np.searchsorted(turns, ticks) % 2
    parts = []
    for side in (0, 1):
        talks = (speaker == side) | (rng.random(len(ticks)) < 0.08)
        frames = frame * (1 + 0.25 * rng.standard_normal(int(talks.sum()))).clip(0.3, 2)
        silent = ticks[~talks][:: max(round(0.4 / pace), 1)]
        noise = np.full(len(silent), 0.25 * frame + 14)
        parts += [_same(ticks[talks], bool(side), frames), _same(silent, bool(side), noise)]
    return _merge(*parts)


def chat(rng: np.random.Generator, seconds: float) -> Messages:
    """Short messages of two people, receipts, typing notes, pictures now and then."""
    mean = rng.uniform(2.0, 5.0)
    parts = []
    for up in (True, False):
        sent = _between(rng, seconds, mean, 0.9)
        read = sent + rng.lognormal(np.log(0.15), 0.5, len(sent))
        typing = sent - rng.uniform(0.5, 3.0, len(sent))
        typing = typing[typing > 0]
        parts += [
            _same(sent, up, 160 + rng.lognormal(np.log(90), 0.8, len(sent))),
            _same(read, not up, rng.integers(90, 200, len(read))),
            _same(typing, up, rng.integers(80, 160, len(typing))),
        ]
    pictures = _between(rng, seconds, rng.uniform(8.0, 30.0), 0.6)
    sizes = rng.lognormal(np.log(30e3), 0.7, len(pictures))
    return _merge(*parts, _same(pictures, bool(rng.random() < 0.3), sizes))


def browsing(rng: np.random.Generator, seconds: float) -> Messages:
    """Pages: several requests within a second or two, each answered at once; then reading."""
    mean, objects = rng.uniform(4.0, 11.0), rng.uniform(4, 14)
    alive = np.arange(0, seconds, 10.0)
    parts = [_same(alive, True, np.full(len(alive), 46))]
    for page in _between(rng, seconds, mean, 0.5):
        n = 1 + rng.poisson(objects)
        asked = page + np.append(0, np.cumsum(rng.exponential(0.12, n - 1)))
        answers = rng.lognormal(np.log(4e3), 1.1, n).clip(200, 80e3)
        parts += [
            _same(asked, True, rng.integers(280, 800, n)),
            _same(asked + 0.05 + rng.exponential(0.06, n), False, answers),
        ]
    merged = _merge(*parts)
    return Messages(*(column[merged.time < seconds] for column in merged))


APPLICATIONS: dict[str, Callable[[np.random.Generator, float], Messages]] = {
    "Video": video,
    "VOIP": voice,
    "FileTransfer": file_transfer,
    "Chat": chat,
    "Browsing": browsing,
}


def _queue(arrival: np.ndarray, service: np.ndarray) -> np.ndarray:
    """Return departure times of a first-come first-served link (Lindley's recursion)."""
    busy = np.cumsum(service)
    return busy + np.maximum.accumulate(arrival - (busy - service))


def _sorted(*parts: Packets) -> Packets:
    columns = [np.concatenate(c) for c in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Packets(*(column[order] for column in columns))


def tcp(rng: np.random.Generator, host: Host, messages: Messages, segment: int) -> Packets:
    """Cut messages into segments, queue them on the link, acknowledge every second one.

    Seen at the client: an answer's segments arrive spaced by the link, acknowledgements of what
    the client sent come a round trip later. A handshake opens and two FIN close the connection.
    """
    parts = [_handshake(rng, host, segment)]
    opened = parts[0].time[-1] + 0.01
    for up in (True, False):
        mine = messages.up == up
        sizes = messages.bytes[mine]
        if not len(sizes):
            continue
        counts = -(-sizes // segment)
        which = np.repeat(np.arange(len(sizes)), counts)
        last = np.append(which[1:] != which[:-1], True)
        payload = np.where(last, sizes[which] - (counts[which] - 1) * segment, segment)
        arrival = np.maximum.accumulate(opened + messages.time[mine] + host.round_trip * (not up))
        rate = host.bandwidth * (0.4 if up else 1.0)
        service = payload / rate * rng.gamma(1 / host.jitter**2, host.jitter**2, len(payload))
        time = _queue(arrival[which], service)
        flags = np.where(last, PUSH | ACK, ACK)
        parts.append(Packets(time, np.full(len(time), up), payload, flags))
        acked = last | (np.arange(len(time)) % 2 == 1)
        delay = host.round_trip if up else 0.0005
        answered = time[acked] + delay + rng.exponential(0.002, int(acked.sum()))
        none = np.zeros(len(answered), np.int64)
        parts.append(Packets(answered, np.full(len(answered), not up), none, none + ACK))
    end = max(float(part.time.max()) for part in parts) + 0.05
    close = np.array([end, end + host.round_trip, end + host.round_trip + 0.001])
    parts.append(
        Packets(
            close,
            np.array([True, False, True]),
            np.zeros(3, np.int64),
            np.array([FIN | ACK, FIN | ACK, ACK]),
        )
    )
    return _sorted(*parts)


def _handshake(rng: np.random.Generator, host: Host, segment: int) -> Packets:
    """TCP's three steps, then the hellos of TLS 1.3 with a certificate chain."""
    certificate = int(rng.integers(2200, 4600))
    pieces = [min(segment, certificate - at) for at in range(0, certificate, segment)]
    payload = [0, 0, 0, 517, *pieces, 0, 80]
    up = [True, False, True, True, *[False] * len(pieces), True, True]
    flags = [SYN, SYN | ACK, ACK, PUSH | ACK, *[ACK] * len(pieces), ACK, PUSH | ACK]
    trip = host.round_trip
    times = [
        0,
        trip,
        trip,
        trip,
        *(2 * trip + 0.001 * np.arange(len(pieces))),
        2 * trip + 0.01,
        2 * trip + 0.012,
    ]
    return Packets(
        np.array(times, float), np.array(up), np.array(payload, np.int64), np.array(flags)
    )


def udp(rng: np.random.Generator, host: Host, messages: Messages) -> Packets:
    """One datagram a message, jittered on the way."""
    late = rng.exponential(0.004 * host.jitter + 1e-4, len(messages.time))
    zero = np.zeros(len(late), np.int64)
    return _sorted(Packets(messages.time + late, messages.up, messages.bytes, zero))


def tls(messages: Messages) -> Messages:
    """Add the overhead of TLS records of at most 16 kB."""
    records = -(-messages.bytes // 16_000)
    return messages._replace(bytes=messages.bytes + 22 * records)


def tunnelled(rng: np.random.Generator, host: Host, inner: Packets, header: int) -> Packets:
    """Wrap packets (payload behind `header` bytes of inner headers) into UDP datagrams.

    Each is padded to blocks of 16 and gets the tunnel's own header; one above the tunnel's limit
    goes in two halves. A ping keeps the tunnel alive every 10 s.
    """
    size = inner.payload + header
    halves = 1 + (size > host.tunnel_limit)
    which = np.repeat(np.arange(len(size)), halves)
    padded = (-(-(-(-size // halves) + 1) // 16) * 16)[which] + host.tunnel
    time = inner.time[which] + np.append(False, which[1:] == which[:-1]) * 2e-5
    zero = np.zeros(len(time), np.int64)
    pings = np.arange(rng.uniform(0, 10), float(inner.time[-1]), 10.0)
    both = np.append(pings, pings + host.round_trip)
    ways = np.repeat([True, False], len(pings))
    ping = np.full(len(both), 16 + host.tunnel)
    return _sorted(
        Packets(time, inner.up[which], padded, zero), Packets(both, ways, ping, ping * 0)
    )


def tor_messages(rng: np.random.Generator, host: Host, messages: Messages) -> Messages:
    """Put messages into cells of 514 bytes, delay them on the circuit, add flow control.

    A cell carries 498 bytes; up to `host.cells` cells share a TLS record. For every 50 cells one
    goes back (a SENDME); padding cells keep the connection alive.
    """
    cells = -(-messages.bytes // 498)
    late = rng.gamma(4.0, 0.25 * host.round_trip + 0.02, len(cells)) * np.where(messages.up, 0.1, 1)
    wire = cells * 514 + 29 * -(-cells // host.cells)
    parts = [Messages(messages.time + late, messages.up, wire)]
    for up in (True, False):
        mine = messages.up == up
        due = np.diff(np.cumsum(cells[mine]) // 50, prepend=0) > 0
        back = (messages.time + late)[mine][due] + 0.05
        parts.append(_same(back, not up, np.full(len(back), 543)))
        padding = _between(rng, float(messages.time[-1]), 5.0, 0.4)
        parts.append(_same(padding, up, np.full(len(padding), 543)))
    return _merge(*parts)


def flow_packets(
    rng: np.random.Generator, host: Host, category: str, encryption: str, seconds: float
) -> tuple[str, Packets]:
    """Return the transport (tcp or udp) and the packets of one flow of a class."""
    messages = APPLICATIONS[category](rng, seconds)
    if encryption == "Tor":
        hidden = tor_messages(rng, host, messages)
        return "tcp", tcp(rng, host, hidden, host.segment)
    if encryption == "VPN":
        segment = host.segment - 40 - host.tunnel
        if category == "VOIP":
            return "udp", tunnelled(rng, host, udp(rng, host, messages), 28)
        inner = tcp(rng, host, tls(messages), segment)
        return "udp", tunnelled(rng, host, inner, 40 + host.options)
    if category == "VOIP":
        return "udp", udp(rng, host, messages)
    return "tcp", tcp(rng, host, tls(messages), host.segment)
