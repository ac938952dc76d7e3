"""Frames with valid headers and checksums, and capture files around them: the sample's writer.

Letters: N packets.

Every packet is built whole, with its checksums over all bytes, then cut to the capture's snapshot
length, as a capturing program does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

ETHERNET, RAW, COOKED = 1, 101, 113
ARP, ICMP = 0, 1
TCP, UDP = 6, 17


@dataclass(frozen=True)
class Frames:
    """N frames to be written, in time order.

    `nanoseconds` since 1970, `flow` the row of the endpoints, `up` from client to server,
    `protocol` TCP, UDP, ICMP or ARP, `payload` bytes behind the transport header, `flags`,
    `sequence` and `acknowledged` of TCP.
    """

    nanoseconds: np.ndarray
    flow: np.ndarray
    up: np.ndarray
    protocol: np.ndarray
    payload: np.ndarray
    flags: np.ndarray
    sequence: np.ndarray
    acknowledged: np.ndarray


@dataclass(frozen=True)
class Endpoints:
    """Addresses [F, 2, 16] (IPv4 in the first 4 bytes) and ports [F, 2]: client, then server."""

    address: np.ndarray
    port: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a capture is written: IP version, link type, VLAN tag (0: none), TCP option bytes
    (0 or 12), snapshot length, container and its resolution.
    """

    version: int
    link: int
    vlan: int
    options: int
    snap: int
    pcapng: bool
    nanoseconds: bool


def write_capture(
    path: Path, frames: Frames, ends: Endpoints, form: Form, seed: int, cut: int = 0
) -> None:
    """Write a capture; `cut` bytes are missing at its end (a capturing program that was killed)."""
    record = 32 if form.pcapng else 16
    room = len(frames.flow) * (record + form.snap + 3)
    out = np.zeros(room, np.uint8)
    used = _write(
        out,
        frames.nanoseconds,
        frames.flow,
        frames.up,
        frames.protocol,
        frames.payload,
        frames.flags,
        frames.sequence,
        frames.acknowledged,
        ends.address,
        ends.port,
        form.version,
        form.link,
        form.vlan,
        form.options,
        form.snap,
        form.pcapng,
        form.nanoseconds,
        np.uint64(seed | 1),
    )
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(_header(form))
        file.write(out[: used - cut].tobytes())
    temporary.replace(path)


def _header(form: Form) -> bytes:
    """Return the file header: pcap's, or pcapng's section header and one interface."""
    if not form.pcapng:
        magic = 0xA1B23C4D if form.nanoseconds else 0xA1B2C3D4
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, form.snap, form.link)
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    # option 9 (if_tsresol): stamps count 10^-9 or 10^-6 s
    resolution = 9 if form.nanoseconds else 6
    interface = struct.pack(
        "<IIHHIHHB3xHHI", 1, 32, form.link, 0, form.snap, 9, 1, resolution, 0, 0, 32
    )
    return section + interface


@njit(cache=True)
def _big(out, i, value, n):
    for k in range(n):
        out[i + k] = (value >> (8 * (n - 1 - k))) & 0xFF


@njit(cache=True)
def _little(out, i, value, n):
    for k in range(n):
        out[i + k] = (value >> (8 * k)) & 0xFF


@njit(cache=True)
def _copy(out, i, source, n):
    for k in range(n):
        out[i + k] = source[k]


@njit(cache=True)
def _sum16(data, start, end):
    total = np.int64(0)
    for i in range(start, end - 1, 2):
        total += (np.int64(data[i]) << 8) | np.int64(data[i + 1])
    if (end - start) & 1:
        total += np.int64(data[end - 1]) << 8
    return total


@njit(cache=True)
def _checksum(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@njit(cache=True)
def _link_header(p, link, vlan, up, kind):
    """Write a link header; return its length."""
    if link == RAW:
        return 0
    if link == COOKED:
        _big(p, 0, 4 if up else 0, 2)
        _big(p, 2, 1, 2)
        _big(p, 4, 6, 2)
        _big(p, 6, 0x021122334455, 6)
        _big(p, 12, 0, 2)
        _big(p, 14, kind, 2)
        return 16
    _big(p, 0, 0x02AABBCCDD01 if up else 0x021122334455, 6)
    _big(p, 6, 0x021122334455 if up else 0x02AABBCCDD01, 6)
    at = 12
    if vlan:
        _big(p, at, 0x8100, 2)
        _big(p, at + 2, vlan, 2)
        at += 4
    _big(p, at, kind, 2)
    return at + 2


@njit(cache=True)
def _arp(p, at, source, target):
    """Write a request for the target's address; return the end."""
    _big(p, at, 0x0001080006040001, 8)
    _big(p, at + 8, 0x021122334455, 6)
    _copy(p, at + 14, source, 4)
    _big(p, at + 18, 0, 6)
    _copy(p, at + 24, target, 4)
    return at + 28


@njit(cache=True)
def _ip(p, at, version, protocol, length, source, target, number):
    """Write an IP header in front of `length` bytes; return its end and the pseudo header's sum."""
    if version == 4:
        _big(p, at, 0x4500, 2)
        _big(p, at + 2, 20 + length, 2)
        _big(p, at + 4, number & 0xFFFF, 2)
        _big(p, at + 6, 0x4000, 2)
        p[at + 8], p[at + 9] = 64, protocol
        _big(p, at + 10, 0, 2)
        _copy(p, at + 12, source, 4)
        _copy(p, at + 16, target, 4)
        _big(p, at + 10, _checksum(_sum16(p, at, at + 20)), 2)
        return at + 20, _sum16(p, at + 12, at + 20) + protocol + length
    _big(p, at, 0x60000000, 4)
    _big(p, at + 4, length, 2)
    p[at + 6], p[at + 7] = 58 if protocol == ICMP else protocol, 64
    _copy(p, at + 8, source, 16)
    _copy(p, at + 24, target, 16)
    return at + 40, _sum16(p, at + 8, at + 40) + p[at + 6] + length


@njit(cache=True)
def _random_bytes(p, at, end, state):
    """Fill with what looks encrypted (xorshift64); return the generator's state."""
    for i in range(at, end):
        if (i - at) & 7 == 0:
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
        p[i] = (state >> np.uint64(8 * ((i - at) & 7))) & np.uint64(0xFF)
    return state


@njit(cache=True)
def _transport_header(
    p, at, protocol, source, target, payload, flags, sequence, acked, options, stamp
):
    """Write a TCP, UDP or ICMP header with a zero checksum; return its end and the checksum's
    place.
    """
    if protocol == ICMP:
        _big(p, at, 0x0800, 2)
        _big(p, at + 2, 0, 6)
        return at + 8, at + 2
    _big(p, at, source, 2)
    _big(p, at + 2, target, 2)
    if protocol == UDP:
        _big(p, at + 4, 8 + payload, 2)
        _big(p, at + 6, 0, 2)
        return at + 8, at + 6
    _big(p, at + 4, sequence, 4)
    _big(p, at + 8, acked, 4)
    p[at + 12], p[at + 13] = (5 + options // 4) << 4, flags
    _big(p, at + 14, 64_240, 2)
    _big(p, at + 16, 0, 4)
    if options:  # two no-ops, then time stamps
        _big(p, at + 20, 0x0101080A, 4)
        _big(p, at + 24, stamp, 4)
        _big(p, at + 28, 0, 4)
    return at + 20 + options, at + 16


@njit(cache=True)
def _packet(
    p,
    n,
    time,
    f,
    up,
    protocol,
    payload,
    flags,
    sequence,
    acked,
    address,
    port,
    version,
    link,
    vlan,
    options,
    state,
):
    """Write one whole frame; return its length and the generator's state."""
    a, b = (0, 1) if up else (1, 0)
    if protocol == ARP:
        at = _link_header(p, link, vlan, up, 0x0806)
        return _arp(p, at, address[f, a], address[f, b]), state
    at = _link_header(p, link, vlan, up, 0x0800 if version == 4 else 0x86DD)
    header = 20 + options if protocol == TCP else 8
    body, pseudo = _ip(p, at, version, protocol, header + payload, address[f, a], address[f, b], n)
    data, place = _transport_header(
        p,
        body,
        protocol,
        port[f, a],
        port[f, b],
        payload,
        flags,
        sequence,
        acked,
        options,
        time // 1_000_000,
    )
    end = data + payload
    state = _random_bytes(p, data, end, state)
    if protocol == TCP and payload >= 6:  # a record of TLS application data
        _big(p, data, 0x170303, 3)
        _big(p, data + 3, payload - 5, 2)
    if protocol == ICMP and version == 6:
        p[body] = 128
    ipv4_icmp = protocol == ICMP and version == 4
    total = _sum16(p, body, end) + (0 if ipv4_icmp else pseudo)
    checksum = _checksum(total)
    if protocol == UDP and checksum == 0:
        checksum = 0xFFFF
    _big(p, place, checksum, 2)
    return end, state


@njit(cache=True)
def _write(
    out,
    nanoseconds,
    flow,
    ups,
    protocols,
    payloads,
    flags,
    sequences,
    acks,
    address,
    port,
    version,
    link,
    vlan,
    options,
    snap,
    pcapng,
    nano,
    state,
):
    """Write all records; return the bytes used."""
    p = np.zeros(70_000, np.uint8)
    used = 0
    for n in range(len(flow)):
        wire, state = _packet(
            p,
            n,
            nanoseconds[n],
            flow[n],
            ups[n],
            protocols[n],
            payloads[n],
            flags[n],
            sequences[n],
            acks[n],
            address,
            port,
            version,
            link,
            vlan,
            options,
            state,
        )
        kept = min(wire, snap)
        if pcapng:
            stamp = nanoseconds[n] if nano else nanoseconds[n] // 1000
            size = 32 + (kept + 3) // 4 * 4
            _little(out, used, 6, 4)
            _little(out, used + 4, size, 4)
            _little(out, used + 8, 0, 4)
            _little(out, used + 12, stamp >> 32, 4)
            _little(out, used + 16, stamp & 0xFFFFFFFF, 4)
            _little(out, used + 20, kept, 4)
            _little(out, used + 24, wire, 4)
            _copy(out, used + 28, p, kept)
            _little(out, used + size - 4, size, 4)
        else:
            fraction = nanoseconds[n] % 1_000_000_000
            size = 16 + kept
            _little(out, used, nanoseconds[n] // 1_000_000_000, 4)
            _little(out, used + 4, fraction if nano else fraction // 1000, 4)
            _little(out, used + 8, kept, 4)
            _little(out, used + 12, wire, 4)
            _copy(out, used + 16, p, kept)
        used += size
    return used
