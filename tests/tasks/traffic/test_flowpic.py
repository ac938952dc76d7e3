import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.traffic.flowpic import read_rows


def row(capture, ends, start, times, sizes, protocol="TCP"):
    fields = [capture, *ends, protocol, start, len(times), *times, "", *sizes]
    return ",".join(str(f) for f in fields)


ENDS = ("10.0.0.1", 5, "10.0.0.2", 443)
BACK = ("10.0.0.2", 443, "10.0.0.1", 5)


def written(tmp_path, *rows):
    path = tmp_path / "chat.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_pairs_within_a_capture(tmp_path):
    path = written(
        tmp_path,
        row("a", BACK, 100.5, [0.0, 2.0], [70, 80]),
        row("b", ENDS, 7.0, [0.0], [60]),
        row("a", ENDS, 100.0, [0.0, 3.0, 1.0], [50, 52, 51]),
        row("a", ENDS, 100.0, [0.0], [33], "UDP"),
    )
    (name_a, a, counts_a), (name_b, b, counts_b) = read_rows(path)
    assert (name_a, name_b) == ("a", "b")
    # direction 0 is the row that comes first
    assert a.names == ("tcp 10.0.0.2:443-10.0.0.1:5", "udp 10.0.0.1:5-10.0.0.2:443")
    assert a.first.tolist() == [[0, 2], [5, 6], [6, 6]]
    assert a.time.tolist() == [100.5, 102.5, 100, 101, 103, 100]
    assert a.size.tolist() == [70, 80, 50, 51, 52, 33]
    assert counts_a == {"rows": 3, "packets": 6, "flows without their other direction": 1}
    assert counts_b["flows without their other direction"] == 1
    assert b.first.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "line 2 is no row"),
        (row("a", ENDS, "inf", [0.0], [1]), "start time inf"),
        (row("a", ENDS, "soon", [0.0], [1]), "line 2 is no row"),
        (row("a", ENDS, 1.0, [0.0, "x"], [1, 2]), "line 2 is no row"),
        (row("a", ENDS, 1.0, [0.0, 1.0], [1]), "announces 2 packets but holds 2 times and 1"),
        (row("a", ENDS, 1.0, [], []), "announces 0 packets"),
        (row("a", ENDS, 1.0, [0.5, 1.0], [1, 2]), "start at 0"),
        (row("a", ENDS, 1.0, [0.0, np.nan], [1, 2]), "start at 0"),
        (row("a", ENDS, 1.0, [0.0, 1.0], [1, -2]), "below 0"),
        (row("a", ENDS, 1.0, [0.0], [1]).replace(",,", ",5,"), "empty field"),
        (row("z", ENDS, 1.0, [0.0], [1]), "stands there twice"),
    ],
)
def test_broken_rows_are_named(tmp_path, line, message):
    path = written(tmp_path, row("z", ENDS, 1.0, [0.0], [1]), line)
    with pytest.raises(DataError, match=message):
        list(read_rows(path))


def test_a_binary_file(tmp_path):
    path = tmp_path / "chat.csv"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="cannot be read as FlowPic's CSV"):
        list(read_rows(path))


def test_damaged_rows_are_read_or_named(tmp_path):
    whole = written(
        tmp_path,
        row("a", ENDS, 100.0, [0.0, 3.0, 1.0], [50, 52, 51]),
        row("a", BACK, 100.5, [0.0, 2.0], [70, 80]),
        row("b", ENDS, 7.0, [0.0], [60]),
    ).read_bytes()
    path, outcomes = tmp_path / "damaged.csv", {"read": 0, "refused": 0}
    for k in range(400):
        rng, content = np.random.default_rng(k), bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] = rng.choice(list(b'0123456789-.,e\n"nif\xff\x00'))
        path.write_bytes(bytes(content))
        try:
            for _, flows, counts in read_rows(path):
                assert np.isfinite(flows.time).all()
                assert len(flows.size) == counts["packets"] == flows.first[-1, 0]
                assert (flows.size >= 0).all()
            outcomes["read"] += 1
        except DataError as error:
            outcomes["refused" if str(path) in str(error) else "refused without its name"] += 1
    assert min(outcomes.values()) > 50
