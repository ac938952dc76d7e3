import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.traffic.flows import FlowTable, read_flows
from tests.tasks.traffic import packets as p


def write(tmp_path, frames, **form):
    path = tmp_path / "a.pcap"
    path.write_bytes(p.pcap(frames, **form))
    return path


def direction(flows, f, d):
    low = flows.first[f, d]
    high = flows.first[f, 1] if d == 0 else flows.first[f + 1, 0]
    return flows.time[low:high], flows.size[low:high]


def test_two_directions_of_two_flows(tmp_path):
    frames = [
        (10.0, p.ethernet(p.ipv4("10.0.0.2", "10.0.0.1", (443, 9), payload=1))),
        (11.0, p.ethernet(p.ipv4("10.0.0.1", "10.0.0.2", (9, 443), payload=2))),
        (12.0, p.ethernet(p.ipv4("10.0.0.1", "10.0.0.2", (9, 53), protocol=p.UDP, payload=3))),
        (13.0, p.ethernet(p.ipv4("10.0.0.2", "10.0.0.1", (443, 9), payload=4))),
        (14.0, p.ethernet(bytes(28), 0x0806)),
    ]
    read = read_flows(write(tmp_path, frames))
    assert read.packets == 5
    assert read.wire_bytes == sum(len(frame) for _, frame in frames)
    assert read.dropped == {"not IP": 1}
    # direction 0 is whichever side is seen first
    assert read.flows.names == ("tcp 10.0.0.2:443-10.0.0.1:9", "udp 10.0.0.1:9-10.0.0.2:53")
    assert [x.tolist() for x in direction(read.flows, 0, 0)] == [[10.0, 13.0], [41, 44]]
    assert [x.tolist() for x in direction(read.flows, 0, 1)] == [[11.0], [42]]
    assert [x.tolist() for x in direction(read.flows, 1, 0)] == [[12.0], [31]]
    assert [x.tolist() for x in direction(read.flows, 1, 1)] == [[], []]


def test_packets_out_of_order_are_sorted(tmp_path):
    frames = p.two_way(3, 1.0)
    shuffled = [frames[i] for i in (4, 1, 7, 0, 6, 2, 5, 3)]
    straight = read_flows(write(tmp_path, frames)).flows
    read = read_flows(write(tmp_path, shuffled)).flows
    assert read.names == straight.names
    np.testing.assert_array_equal(read.time, straight.time)
    np.testing.assert_array_equal(read.size, straight.size)
    np.testing.assert_array_equal(read.first, straight.first)


def test_flows_equal_a_plain_dictionary(tmp_path):
    rng = np.random.default_rng(0)
    expected: dict = {}
    frames = []
    for k in range(3000):
        a, b = rng.integers(1, 6, 2)
        ports = tuple(int(x) for x in rng.integers(1, 4, 2))
        kind = int(rng.choice([p.TCP, p.UDP]))
        size = int(rng.integers(0, 50))
        frame = p.ipv4(f"10.0.0.{a}", f"10.0.0.{b}", ports, kind, size)
        frames.append((100.0 + k, p.ethernet(frame)))
        ends = ((int(a), ports[0]), (int(b), ports[1]))
        key = (kind, *sorted(ends))
        expected.setdefault(key, []).append((100.0 + k, len(frame)))
    flows = read_flows(write(tmp_path, frames)).flows
    assert len(flows) == len(expected)
    found = sorted(
        sorted(zip(flows.time[a:b].tolist(), flows.size[a:b].tolist(), strict=True))
        for a, b in zip(flows.first[:-1, 0], flows.first[1:, 0], strict=True)
    )
    assert found == sorted(sorted(v) for v in expected.values())


def test_chunks_are_joined():
    key = np.array([[0, 1, 0, 2, 9], [0, 1, 0, 3, 9]], np.uint64)
    table = FlowTable()
    for k in range(4):
        table.add(np.array([k + 0.5, k]), np.array([7, 8]), key, np.array([k % 2 == 0, True]))
    flows = table.flows()
    # the flow seen first comes first, and its first packet says which direction is 0
    assert flows.first.tolist() == [[0, 4], [4, 6], [8, 8]]
    assert flows.time.tolist() == [0, 1, 2, 3, 0.5, 2.5, 1.5, 3.5]


def test_empty_capture(tmp_path):
    read = read_flows(write(tmp_path, []))
    assert (read.packets, len(read.flows), read.dropped, read.damage) == (0, 0, {}, None)


def test_damage_is_told(tmp_path):
    path = write(tmp_path, p.two_way(5, 1.0))
    path.write_bytes(path.read_bytes()[:-5])
    read = read_flows(path)
    assert read.packets == 11
    assert "truncated" in str(read.damage)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "b.pcap"
    path.write_text("no capture")
    with pytest.raises(DataError, match=r"b\.pcap is not a readable capture"):
        read_flows(path)
