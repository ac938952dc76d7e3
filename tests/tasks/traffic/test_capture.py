import tracemalloc

import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.traffic.capture import Capture
from tests.tasks.traffic import packets as p

TIMES = [1_600_000_000.25, 1_600_000_000.5, 1_600_000_001.000001]
FRAMES = [(time, p.ethernet(p.ipv4(payload=k * 10))) for k, time in enumerate(TIMES)]


def read(path, chunk_packets=16):
    capture = Capture(path, chunk_packets)
    chunks = list(capture)
    join = lambda name: np.concatenate([getattr(c, name) for c in chunks] or [np.zeros(0)])  # noqa: E731
    frames = [
        bytes(c.data[a:b]) for c in chunks for a, b in zip(c.start, c.start[1:], strict=False)
    ]
    return capture, join("time"), join("wire"), join("link"), frames


def written(tmp_path, content, name="capture.pcap"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_classic_pcap(tmp_path, order, nanoseconds):
    path = written(tmp_path, p.pcap(FRAMES, order=order, nanoseconds=nanoseconds))
    capture, time, wire, link, frames = read(path)
    assert capture.damage is None
    np.testing.assert_allclose(time, TIMES, atol=1.1e-6, rtol=0)
    assert wire.tolist() == [len(frame) for _, frame in FRAMES]
    assert set(link) == {1}
    assert frames == [frame for _, frame in FRAMES]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("resolution", "ticks"), [(None, 10**6), (9, 10**9), (3, 10**3)])
def test_pcapng(tmp_path, order, resolution, ticks):
    content = p.section(order) + p.interface(1, resolution, order)
    content += b"".join(p.enhanced(t, f, ticks=ticks, order=order) for t, f in FRAMES)
    # the name does not matter: UNB's vpn_hangouts_audio2.pcap is pcapng
    capture, time, _, _, frames = read(written(tmp_path, content))
    assert capture.damage is None
    np.testing.assert_allclose(time, TIMES, atol=max(1.1e-6, 0.6 / ticks), rtol=0)
    assert frames == [frame for _, frame in FRAMES]


def test_interfaces_of_other_link_types_and_resolutions_in_one_pcapng(tmp_path):
    raw = p.ipv4(payload=5)
    content = p.section() + p.interface(1) + p.interface(101, 9)
    content += p.enhanced(*FRAMES[0], number=0)
    content += p.enhanced(TIMES[1], raw, number=1, ticks=10**9)
    content += p.enhanced(*FRAMES[2], number=0)
    capture, time, _, link, frames = read(written(tmp_path, content), chunk_packets=2)
    assert capture.damage is None
    np.testing.assert_allclose(time, TIMES, atol=1.1e-6, rtol=0)
    assert link.tolist() == [1, 101, 1]
    assert frames == [FRAMES[0][1], raw, FRAMES[2][1]]


def test_a_simple_packet_block_has_no_stamp(tmp_path):
    frame = FRAMES[0][1]
    simple = p.block(3, len(frame).to_bytes(4, "little") + frame)
    content = p.section() + p.interface(1) + p.interface(101) + simple
    capture, time, wire, _, frames = read(written(tmp_path, content))
    assert (capture.damage, time.tolist(), wire.tolist()) == (None, [0.0], [len(frame)])
    assert frames == [frame]


@pytest.mark.parametrize("missing", [1, 30, 60])
def test_truncated_last_packet_is_told_and_the_rest_is_read(tmp_path, missing):
    whole = p.pcap(FRAMES)
    capture, time, *_ = read(written(tmp_path, whole[:-missing]))
    assert len(time) == 2
    assert "truncated" in str(capture.damage)


def test_truncated_pcapng(tmp_path):
    content = p.section() + p.interface(1) + b"".join(p.enhanced(t, f) for t, f in FRAMES)
    capture, time, *_ = read(written(tmp_path, content[:-10]))
    assert len(time) == 2
    assert "truncated" in str(capture.damage)


def test_snapshot_length_keeps_the_length_on_the_wire(tmp_path):
    _, _, wire, _, frames = read(written(tmp_path, p.pcap(FRAMES, kept=60)))
    assert wire.tolist() == [len(frame) for _, frame in FRAMES]
    assert [len(frame) for frame in frames] == [54, 60, 60]


def test_chunks_do_not_change_what_is_read(tmp_path):
    many = [(TIMES[0] + k, FRAMES[k % 3][1]) for k in range(50)]
    path = written(tmp_path, p.pcap(many))
    for size in (1, 7, 50, 64):
        _, time, _, _, frames = read(path, size)
        assert time.tolist() == [t for t, _ in many]
        assert frames == [frame for _, frame in many]


def test_memory_is_that_of_a_chunk_however_long_the_capture(tmp_path):
    peaks = []
    for n in (2_000, 20_000):
        many = [(TIMES[0] + k, FRAMES[k % 3][1]) for k in range(n)]
        path = written(tmp_path, p.pcap(many), f"{n}.pcap")
        capture, seen = Capture(path, 500), 0
        tracemalloc.start()
        for chunk in capture:
            seen += len(chunk)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert seen == n
    assert peaks[1] < 1.2 * peaks[0]
    # 20,000 packets are 1.5 MB
    assert peaks[1] < 400_000


def test_no_packets(tmp_path):
    capture, time, *_ = read(written(tmp_path, p.pcap([])))
    assert capture.damage is None
    assert not len(time)


@pytest.mark.parametrize("content", [b"", b"frame 1\n", b"\x1f\x8b\x08\x00" * 9, p.pcap([])[:20]])
def test_a_file_that_is_no_capture_is_named(tmp_path, content):
    path = written(tmp_path, content, "notes.pcap")
    with pytest.raises(DataError, match=r"notes\.pcap is not a readable capture.*bad_captures"):
        read(path)


def test_fuzzed_captures_end_in_data_errors_or_damage(tmp_path):
    rng = np.random.default_rng(0)
    mixed = p.section() + p.interface(1) + p.interface(101, 9) + p.enhanced(*FRAMES[0])
    mixed += p.enhanced(TIMES[1], p.ipv4(), number=1, ticks=10**9) + p.enhanced(*FRAMES[2])
    wholes = [p.pcap(FRAMES), p.pcap(FRAMES, order=">", nanoseconds=True), mixed]
    outcomes = set()
    for k in range(300):
        content = bytearray(wholes[k % 3])
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(len(content))] = rng.integers(256)
        if k % 4 == 0:
            del content[rng.integers(len(content)) :]
        path = written(tmp_path, bytes(content))
        try:
            capture, *_ = read(path)
            outcomes.add("damage" if capture.damage else "whole")
        except DataError:
            outcomes.add("error")
    assert outcomes == {"damage", "whole", "error"}
