"""AEDAT files: byte layouts against hand-packed bytes, round trips, and damaged files."""

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from snnexp.data.aedat import (
    iter_aedat31,
    read_aedat2,
    read_aedat4,
    read_aedat31,
    write_aedat2,
    write_aedat31,
)
from snnexp.data.base import DataError
from snnexp.data.events import Events

HEAD31 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
HEAD2 = b"#!AER-DAT2.0\r\n# text\r\n"


def packet(events, kind=1, size=8, capacity=None, overflow=0):
    """Events as (x, y, polarity, time, valid), packed by the letters of the format."""
    n = len(events)
    head = struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, capacity or n, n, n)
    body = b"".join(
        struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t) for x, y, p, t, valid in events
    )
    return head + body + bytes(((capacity or n) - n) * size)


def random_events(n, seed=0, duration=10**6, start=0):
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, 128, n).astype(np.int16),
        rng.integers(0, 128, n).astype(np.int16),
        start + np.sort(rng.integers(0, duration, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def assert_equal(a, b):
    for name in "xytp":
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_31_reads_the_stated_bits(tmp_path):
    path = tmp_path / "r.aedat"
    first = packet([(3, 127, 1, 5, 1), (100, 2, 0, 7, 0), (1, 1, 0, 9, 1)], capacity=5)
    special = packet([(0, 0, 0, 8, 1)] * 2, kind=0)
    path.write_bytes(HEAD31 + first + special + packet([(5, 6, 1, 4, 1)], overflow=1))
    notes = Counter()
    events = read_aedat31(path, "error", notes)
    assert events.x.tolist() == [3, 1, 5]
    assert events.y.tolist() == [127, 1, 6]
    assert events.p.tolist() == [1, 0, 1]
    assert events.t.tolist() == [5, 9, 2**31 + 4]
    assert notes == {"events marked invalid": 1}


@pytest.mark.parametrize("n", [0, 1, 4096, 10_001])
def test_31_round_trip_over_the_overflow_of_the_clock(tmp_path, n):
    events = random_events(n, start=2**31 - 500_000)
    write_aedat31(tmp_path / "r.aedat", events, source="DVS128")
    assert_equal(read_aedat31(tmp_path / "r.aedat", "error", Counter()), events)


def test_31_comes_packet_by_packet(tmp_path):
    write_aedat31(tmp_path / "r.aedat", random_events(1000), source="DVS128", packet=300)
    sizes = [len(e) for e in iter_aedat31(tmp_path / "r.aedat", "error", Counter())]
    assert sizes == [300, 300, 300, 100]


@pytest.mark.parametrize(("cut", "what"), [(20, "a packet of 100 events"), (815, "the header of")])
def test_31_truncated_packet(tmp_path, cut, what):
    path = tmp_path / "r.aedat"
    events = random_events(500)
    write_aedat31(path, events, source="DVS128", packet=100)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=rf"r\.aedat: {what}.*at byte \d+ is cut off"):
        read_aedat31(path, "error", Counter())
    notes = Counter()
    assert_equal(read_aedat31(path, "drop", notes), events.between(0, 400))
    assert notes == {"truncated files": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"#!AER-DAT2.0\r\n", "no AEDAT 3.1 file"),
        (b"#!AER-DAT3.1", "header has no end"),
        (HEAD31 + packet([(1, 1, 1, 1, 1)], size=-8)[:28], "is damaged"),
        (HEAD31 + packet([(1, 1, 1, 1, 1)], size=16), "is damaged"),
    ],
)
def test_31_damaged(tmp_path, content, message):
    path = tmp_path / "r.aedat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_aedat31(path, "drop", Counter())


def test_2_reads_the_stated_bits(tmp_path):
    path = tmp_path / "r.aedat"
    records = [(127 << 8 | 3 << 1 | 0, 5), (1 << 15, 6), (2 << 8 | 100 << 1 | 1, 2_000_000_000)]
    path.write_bytes(HEAD2 + b"".join(struct.pack(">Ii", *r) for r in records))
    notes = Counter()
    events = read_aedat2(path, "error", notes)
    assert (events.x.tolist(), events.y.tolist()) == ([3, 100], [127, 2])
    assert (events.p.tolist(), events.t.tolist()) == ([1, 0], [5, 2_000_000_000])
    assert notes == {"special events": 1}


def test_2_round_trip_and_truncation(tmp_path):
    path = tmp_path / "r.aedat"
    events = random_events(1000)
    write_aedat2(path, events)
    assert_equal(read_aedat2(path, "error", Counter()), events)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"an event at byte \d+ is cut off"):
        read_aedat2(path, "error", Counter())
    notes = Counter()
    assert_equal(read_aedat2(path, "drop", notes), events.between(0, 999))
    assert notes == {"truncated files": 1}


def test_2_refuses_another_version(tmp_path):
    (tmp_path / "r.aedat").write_bytes(HEAD31)
    with pytest.raises(DataError, match=r"no AEDAT 2\.0 file"):
        read_aedat2(tmp_path / "r.aedat", "error", Counter())


def test_4_reads_what_was_packed():
    pytest.importorskip("aedat")
    # two uncompressed packets of three events, packed with the flatbuffers package
    events = read_aedat4(Path(__file__).parent / "two_packets.aedat4")
    assert events.x.tolist() == [1, 3, 127] * 2
    assert events.y.tolist() == [2, 4, 126] * 2
    assert events.t.tolist() == [10, 20, 30] * 2
    assert events.p.tolist() == [1, 0, 1] * 2


def test_4_without_the_package_or_damaged_is_a_data_error(tmp_path):
    (tmp_path / "r.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(DataError, match=r"pip install aedat|cannot be decoded"):
        read_aedat4(tmp_path / "r.aedat4")
