import struct

import numpy as np
import pytest

from tasks.traffic.capture import Chunk
from tasks.traffic.flows import flow_name
from tasks.traffic.headers import REASONS, decode
from tests.tasks.traffic import packets as p

V4, V6 = p.ipv4(), p.ipv6()
MAC = bytes(range(12))
SLL = bytes(14)
SLL2 = bytes(18)


def chunk(frames, link):
    start = np.append(0, np.cumsum([len(f) for f in frames]))
    return Chunk(
        time=np.zeros(len(frames)),
        wire=np.array([len(f) for f in frames]),
        link=np.full(len(frames), link, np.int32),
        data=np.frombuffer(b"".join(frames), np.uint8),
        start=start,
    )


def told(frame, link=1):
    """Return the reason, or (flow as seen from the sender, IP length)."""
    headers = decode(chunk([frame], link))
    if headers.reason[0]:
        return REASONS[headers.reason[0]]
    return flow_name(headers.key[0], bool(headers.forward[0])), int(headers.size[0])


SEEN4 = ("tcp 10.0.0.1:1000-10.0.0.2:443", 140)
SEEN6 = ("tcp [2001:db8::1]:1000-[2001:db8::2]:443", 160)


@pytest.mark.parametrize(
    ("frame", "link"),
    [
        (p.ethernet(V4), 1),
        (p.ethernet(V4, tags=[(0x8100, 5)]), 1),
        (p.ethernet(V4, tags=[(0x88A8, 5), (0x8100, 6)]), 1),
        (p.ethernet(V4, tags=[(0x9100, 5), (0x8100, 6), (0x8100, 7)]), 1),
        (MAC + b"\x88\x64\x11\x00\x00\x01\x00\x9e\x00\x21" + V4, 1),
        (MAC + b"\x88\x47\x00\x01\x00\xff\x00\x02\x01\xff" + V4, 1),
        (MAC + b"\x05\xdc\xaa\xaa\x03\x00\x00\x00\x08\x00" + V4, 1),
        (V4, 101),
        (V4, 12),
        (V4, 228),
        (SLL + b"\x08\x00" + V4, 113),
        (b"\x08\x00" + SLL2 + V4, 276),
        (b"\x02\x00\x00\x00" + V4, 0),
        (b"\x00\x00\x00\x02" + V4, 108),
        (b"\xff\x03\x00\x21" + V4, 9),
        (b"\x21" + V4, 9),
        (b"\x0f\x00\x08\x00" + V4, 9),
        (b"\x0f\x00\x08\x00" + V4, 104),
        (b"\x11\x00\x00\x01\x00\x9e\x00\x21" + V4, 51),
    ],
)
def test_links(frame, link):
    assert told(frame, link) == SEEN4


@pytest.mark.parametrize(
    ("frame", "link"),
    [
        (p.ethernet(V6, 0x86DD), 1),
        (V6, 101),
        (V6, 229),
        (SLL + b"\x86\xdd" + V6, 113),
        (b"\x1e\x00\x00\x00" + V6, 0),
        (b"\x00\x57" + V6, 9),
    ],
)
def test_links_with_ipv6(frame, link):
    assert told(frame, link) == SEEN6


@pytest.mark.parametrize(
    ("frame", "link", "reason"),
    [
        (p.ethernet(V4), 147, "link type not known"),
        (p.ethernet(V4), 5000, "link type not known"),
        (p.ethernet(V4), -1, "link type not known"),
        (p.ethernet(bytes(28), 0x0806), 1, "not IP"),
        (b"\x07\x00\x00\x00" + V4, 0, "not IP"),
        (p.ethernet(V4)[:13], 1, "header cut short or malformed"),
        (p.ethernet(V4)[:30], 1, "header cut short or malformed"),
        (p.ethernet(V4)[:36], 1, "header cut short or malformed"),
        (p.ethernet(V6, 0x86DD)[:50], 1, "header cut short or malformed"),
        (b"", 1, "header cut short or malformed"),
        (b"", 101, "header cut short or malformed"),
        (p.ethernet(b"\x50" + V4[1:]), 1, "header cut short or malformed"),
        (p.ethernet(b"\x44" + V4[1:]), 1, "header cut short or malformed"),
        (p.ethernet(p.ipv4(total=8)), 1, "header cut short or malformed"),
        (p.ethernet(V4, tags=[(0x8100, 1)] * 20), 1, "header cut short or malformed"),
        (p.ethernet(p.ipv4(fragment=100)), 1, "IP fragment without ports"),
        (p.ethernet(p.ipv4(first=1)), 1, "neither TCP nor UDP"),
        (p.ethernet(p.ipv4(first=4)), 1, "neither TCP nor UDP"),
        (p.ethernet(p.ipv4(first=132)), 1, "neither TCP nor UDP"),
    ],
)
def test_reasons(frame, link, reason):
    assert told(frame, link) == reason


def test_first_fragment_and_options_count():
    assert told(p.ethernet(p.ipv4(fragment=0x2000))) == SEEN4
    assert told(p.ethernet(p.ipv4(options=24)))[1] == 164


def test_offloaded_length_comes_from_the_wire():
    assert told(p.ethernet(p.ipv4(total=0)))[1] == 140


def test_bytes_behind_the_datagram_do_not_count():
    assert told(p.ethernet(p.ipv4(payload=0)) + bytes(6))[1] == 40


def test_udp():
    frame = p.ethernet(p.ipv4(protocol=p.UDP, payload=7))
    assert told(frame) == ("udp 10.0.0.1:1000-10.0.0.2:443", 35)


HOP = (0, b"\x00" + bytes(6))
ROUTING = (43, b"\x02" + bytes(22))
OPTIONS = (60, b"\x01" + bytes(14))
AH = (51, b"\x04" + bytes(22))
FIRST = (44, struct.pack(">BHI", 0, 1, 9))
LATER = (44, struct.pack(">BHI", 0, 8, 9))


@pytest.mark.parametrize(
    "extensions",
    [[HOP], [HOP, ROUTING], [OPTIONS, AH], [HOP, FIRST], [HOP, OPTIONS, FIRST, OPTIONS]],
)
def test_extension_headers(extensions):
    name, size = told(p.ethernet(p.ipv6(extensions=extensions), 0x86DD))
    assert name == SEEN6[0]
    assert size == 160 + sum(1 + len(rest) for _, rest in extensions)


def test_extension_headers_that_end_nowhere():
    assert told(p.ipv6(extensions=[LATER]), 101) == "IP fragment without ports"
    assert told(p.ipv6(extensions=[HOP] * 20), 101) == "header cut short or malformed"
    assert told(p.ipv6(extensions=[HOP])[:44], 101) == "header cut short or malformed"
    assert told(p.ipv6(protocol=p.UDP, extensions=[(50, bytes(15))]), 101) == "neither TCP nor UDP"


def test_both_directions_share_a_key():
    there = p.ethernet(p.ipv4("10.0.0.9", "10.0.0.2", (5, 6)))
    back = p.ethernet(p.ipv4("10.0.0.2", "10.0.0.9", (6, 5)))
    headers = decode(chunk([there, back], 1))
    assert (headers.key[0] == headers.key[1]).all()
    assert headers.forward.tolist() == [False, True]


def test_version_and_protocol_are_part_of_the_key():
    frames = [
        p.ipv4("0.0.0.1", "0.0.0.2"),
        p.ipv4("0.0.0.1", "0.0.0.2", protocol=p.UDP),
        p.ipv6("::1", "::2"),
    ]
    assert len({row.tobytes() for row in decode(chunk(frames, 101)).key}) == 3


def test_random_bytes_never_leave_the_packet():
    rng = np.random.default_rng(1)
    seeds = [p.ethernet(V4), p.ethernet(V6, 0x86DD), SLL + b"\x08\x00" + V4, V6, b"\x21" + V4]
    for link in (0, 1, 9, 12, 51, 104, 113, 276):
        frames = []
        for _ in range(300):
            frame = bytearray(seeds[rng.integers(len(seeds))][: rng.integers(0, 80)])
            for _ in range(rng.integers(0, 4)):
                if frame:
                    frame[rng.integers(len(frame))] = rng.integers(256)
            frames.append(bytes(frame))
        together = decode(chunk(frames, link))
        # what a packet means must not depend on the bytes that happen to follow it
        for i in range(0, 300, 7):
            alone = decode(chunk([frames[i]], link))
            assert alone.reason[0] == together.reason[i]
            assert (alone.key[0] == together.key[i]).all()
            assert alone.size[0] == together.size[i]
