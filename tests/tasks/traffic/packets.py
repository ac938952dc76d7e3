"""Packets and capture files made by hand, independently of the sample's writer."""

import struct
from collections.abc import Sequence
from ipaddress import ip_address

Packet = tuple[float, bytes]
TCP, UDP = 6, 17


def transport(protocol: int, source: int, target: int, payload: int) -> bytes:
    if protocol == TCP:
        return struct.pack(">HHIIBBHHH", source, target, 1, 2, 0x50, 0x18, 0, 0, 0) + bytes(payload)
    return struct.pack(">HHHH", source, target, 8 + payload, 0) + bytes(payload)


def ipv4(
    source="10.0.0.1",
    target="10.0.0.2",
    ports=(1000, 443),
    protocol=TCP,
    payload=100,
    *,
    fragment=0,
    total=None,
    options=0,
    first=None,
) -> bytes:
    body = transport(protocol, *ports, payload)
    length = 20 + options
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | length // 4,
        0,
        length + len(body) if total is None else total,
        7,
        fragment,
        64,
        protocol if first is None else first,
        0,
        ip_address(source).packed,
        ip_address(target).packed,
    )
    return header + bytes(options) + body


def ipv6(
    source="2001:db8::1",
    target="2001:db8::2",
    ports=(1000, 443),
    protocol=TCP,
    payload=100,
    *,
    extensions: Sequence[tuple[int, bytes]] = (),
) -> bytes:
    """`extensions` are (type, bytes behind the next-header byte)."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    body = b"".join(
        bytes([following]) + rest
        for following, (_, rest) in zip(kinds[1:], extensions, strict=True)
    ) + transport(protocol, *ports, payload)
    addresses = ip_address(source).packed + ip_address(target).packed
    return struct.pack(">IHBB", 0x60000000, len(body), kinds[0], 64) + addresses + body


def ethernet(payload: bytes, kind=0x0800, tags: Sequence[tuple[int, int]] = ()) -> bytes:
    head = bytes(range(12))
    for tag, number in tags:
        head += struct.pack(">HH", tag, number)
    return head + struct.pack(">H", kind) + payload


def pcap(
    packets: Sequence[Packet], link=1, order="<", nanoseconds=False, snap=65535, kept=None
) -> bytes:
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)
    scale = 10**9 if nanoseconds else 10**6
    for time, data in packets:
        ticks = round(time * scale)
        shown = data[:kept]
        out += struct.pack(order + "IIII", ticks // scale, ticks % scale, len(shown), len(data))
        out += shown
    return out


def block(kind: int, body: bytes, order="<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order="<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, resolution: int | None = None, order="<") -> bytes:
    body = struct.pack(order + "HHI", link, 0, 65535)
    if resolution is not None:
        body += struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
    return block(1, body, order)


def enhanced(time: float, data: bytes, number=0, ticks=10**6, order="<") -> bytes:
    stamp = round(time * ticks)
    head = struct.pack(
        order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data)
    )
    return block(6, head + data, order)


def two_way(seconds: float, step: float, ends=("10.0.0.1", "10.0.0.2"), ports=(1000, 443), size=200,
            back=100, start=1_600_000_000.0) -> list[Packet]:  # fmt: skip
    """Return Ethernet packets of one flow, one each way every `step` seconds."""
    packets = []
    for k in range(int(seconds / step) + 1):
        there = ipv4(*ends, ports, payload=size)
        again = ipv4(*ends[::-1], ports[::-1], payload=back)
        packets += [(start + k * step, ethernet(there)), (start + k * step + 0.01, ethernet(again))]
    return packets
