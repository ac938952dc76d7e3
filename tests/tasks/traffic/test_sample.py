import hashlib

import numpy as np
import pytest

from tasks.traffic import sample, wire
from tasks.traffic.capture import Capture
from tasks.traffic.flows import read_flows
from tasks.traffic.laws import APPLICATIONS, draw_host, flow_packets

PLANS = sample.plans(8)


def of(number, category="Chat", encryption="nonVPN"):
    return next(
        p for p in PLANS if (p.number, p.category, p.encryption) == (number, category, encryption)
    )


def written(folder, plan):
    path = folder / plan.path
    path.parent.mkdir(parents=True, exist_ok=True)
    sample.write_one(folder, plan)
    return path


def test_the_same_bytes_each_time(tmp_path):
    plan = of(2)
    first = hashlib.sha256(written(tmp_path / "a", plan).read_bytes()).hexdigest()
    assert hashlib.sha256(written(tmp_path / "b", plan).read_bytes()).hexdigest() == first


def test_names_are_unique_and_of_all_kinds():
    paths = [plan.path for plan in sample.plans(20)]
    assert len(set(paths)) == len(paths) == 280
    assert {path.rsplit(".", 1)[1] for path in paths} == {"pcap", "pcapng", "PCAP"}


@pytest.mark.parametrize("number", range(8))
def test_what_is_written_is_read(tmp_path, number):
    plan = of(number, "Chat", ("nonVPN", "VPN", "Tor")[number % 3])
    read = read_flows(written(tmp_path, plan))
    # the application's flows, and one of name look-ups
    assert len(read.flows) == sample.FLOWS + 1
    assert (read.damage is None) == (number != 6)
    assert set(read.dropped) <= {"not IP", "neither TCP nor UDP"}
    assert read.packets == len(read.flows.time) + sum(read.dropped.values())


def test_forms_of_captures(tmp_path):
    links, heads = set(), set()
    for number in range(8):
        path = written(tmp_path, of(number, encryption="VPN" if number % 2 else "Tor"))
        heads.add(path.read_bytes()[:4].hex())
        links |= {int(link) for chunk in Capture(path) for link in chunk.link}
    # Ethernet, raw IP (libpcap's own number), Linux cooked
    assert links == {1, 12, 113}
    # pcap in micro- and nanoseconds, pcapng
    assert heads == {"d4c3b2a1", "4d3cb2a1", "0a0d0d0a"}


def ones_complement(data):
    data = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("vlan", [0, 7])
def test_checksums_over_whole_packets(tmp_path, version, vlan):
    rng = np.random.default_rng(0)
    n = 60
    protocol = np.resize([wire.TCP, wire.UDP, wire.ICMP], n)
    tcp = protocol == wire.TCP
    frames = wire.Frames(
        nanoseconds=np.arange(n) * 1_000_000 + 1_500_000_000_000_000_000,
        flow=np.zeros(n, int),
        up=rng.random(n) < 0.5,
        protocol=protocol,
        payload=rng.integers(0, 1400, n),
        flags=np.where(tcp, 0x18, 0),
        sequence=rng.integers(0, 2**32, n),
        acknowledged=rng.integers(0, 2**32, n),
    )
    ends = wire.Endpoints(
        rng.integers(0, 256, (1, 2, 16)).astype(np.uint8), np.array([[40_000, 443]])
    )
    form = wire.Form(version=version, link=1, vlan=vlan, options=12, snap=65_535, pcapng=False,
                     nanoseconds=True)  # fmt: skip
    path = tmp_path / "a.pcap"
    wire.write_capture(path, frames, ends, form, 1)
    content = path.read_bytes()
    at = 24
    for k in range(n):
        size = int.from_bytes(content[at + 8 : at + 12], "little")
        assert size == int.from_bytes(content[at + 12 : at + 16], "little")
        packet = content[at + 16 + (18 if vlan else 14) : at + 16 + size]
        at += 16 + size
        if version == 4:
            assert ones_complement(packet[:20]) == 0xFFFF
            assert int.from_bytes(packet[2:4], "big") == len(packet)
            body, addresses, kind = packet[20:], packet[12:20], packet[9]
        else:
            assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
            body, addresses, kind = packet[40:], packet[8:40], packet[6]
        pseudo = addresses + bytes([0, kind]) + len(body).to_bytes(2, "big")
        if kind == 1:
            pseudo = b""
        assert ones_complement(pseudo + body) == 0xFFFF
        if tcp[k] and frames.payload[k] >= 6:
            assert body[32:35] == b"\x17\x03\x03"
            assert int.from_bytes(body[35:37], "big") == frames.payload[k] - 5
    assert at == len(content)


@pytest.mark.parametrize("category", APPLICATIONS)
@pytest.mark.parametrize("encryption", ["nonVPN", "VPN", "Tor"])
def test_laws(category, encryption):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        host = draw_host(rng)
        transport, packets = flow_packets(rng, host, category, encryption, 100.0)
        assert (np.diff(packets.time) >= 0).all()
        assert (packets.payload >= 0).all()
        # no packet is larger than the path lets through
        header = 40 + host.options if transport == "tcp" else 28
        assert packets.payload.max() + header <= 1500
        assert 0.05 < packets.up.mean() < 0.95
        assert 90 < packets.time[-1] < 115


def test_tor_carries_cells():
    rng = np.random.default_rng(0)
    host = draw_host(rng)
    _, packets = flow_packets(rng, host, "Chat", "Tor", 100.0)
    # behind the handshake one cell in one record is the smallest data there is
    data = packets.payload[(packets.payload > 0) & (packets.time > 1)]
    assert (data == 543).mean() > 0.3


def test_sequence_numbers_count_bytes(tmp_path):
    path = written(tmp_path, of(0))
    (chunk,) = Capture(path)
    rows = []
    for a, b in zip(chunk.start[:-1], chunk.start[1:], strict=True):
        frame = bytes(chunk.data[a:b])
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:]
        header = (ip[32] >> 4) * 4
        payload = int.from_bytes(ip[2:4], "big") - 20 - header
        flags = ip[33]
        rows.append((ip[12:20] + ip[20:24], int.from_bytes(ip[24:28], "big"), payload, flags))
    expected: dict = {}
    for way, sequence, payload, flags in rows:
        assert expected.get(way, sequence) == sequence
        step = payload + bool(flags & 2) + bool(flags & 1)
        expected[way] = (sequence + step) % 2**32
    assert len(expected) == 2 * sample.FLOWS
