import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.traffic.extract import Extracted
from tasks.traffic.protocols import by_capture, by_window, linked_captures
from tasks.traffic.windows import Windows

SHARES = {"train": 0.65, "val": 0.15, "test": 0.20}


def extracted(captures):
    """`captures` are (name, class, names of flows, windows a flow)."""
    sources, labels, names, flows = [], [], [], []
    for name, label, own, count in captures:
        for flow in own:
            flows += [len(names)] * count
            sources.append(name)
            labels.append(label)
            names.append(flow)
    w = len(flows)
    empty = np.zeros(0)
    windows = Windows(
        empty, empty.astype(np.int32), np.zeros((w, 2, 2), np.int64), np.array(flows), np.zeros(w)
    )
    return Extracted(windows, np.array(labels), tuple(names), tuple(sources), {})


def name(k, back=False):
    ends = [f"10.0.0.{k}:1", "10.9.9.9:443"]
    return "tcp " + "-".join(ends[::-1] if back else ends)


def many(classes=3, captures=9):
    return extracted(
        [
            (f"c{c}-{i}.pcap", c, [name(100 * c + 10 * i + f) for f in range(2)], 1 + i % 3)
            for c in range(classes)
            for i in range(captures)
        ]
    )


def test_windows_at_random():
    data = many()
    splits = by_window(data, SHARES, 0)
    together = np.concatenate(list(splits.values()))
    assert sorted(together) == list(range(len(data.windows)))
    for split, share in SHARES.items():
        assert len(splits[split]) == pytest.approx(share * len(data.windows), abs=2)
    again = by_window(data, SHARES, 0)
    assert all((splits[s] == again[s]).all() for s in splits)
    other = by_window(data, SHARES, 1)
    assert any(len(splits[s]) != len(other[s]) or (splits[s] != other[s]).any() for s in splits)


@pytest.mark.parametrize("seed", range(5))
def test_captures_and_flows_are_disjoint(seed):
    data = many()
    splits, lacking = by_capture(data, SHARES, seed)
    assert lacking == {}
    assert sorted(np.concatenate(list(splits.values()))) == list(range(len(data.windows)))
    for values in (np.array(data.flow_source), np.array(data.flow_names)):
        sides = [set(values[data.windows.flow[w]]) for w in splits.values()]
        assert sum(map(len, sides)) == len(set.union(*sides))
    for members in splits.values():
        # every class is on every side
        assert set(data.label[members]) == {0, 1, 2}


def test_captures_that_share_a_flow_stay_together():
    # ends A and B of one transfer: the other side saw the answer first
    rows = [(f"{i}.pcap", 0, [name(i)], 2) for i in range(8)]
    rows += [("A.pcap", 0, [name(50), name(51)], 2), ("B.pcap", 0, [name(51, back=True)], 2)]
    data = extracted(rows)
    linked = linked_captures(data)
    assert linked[-3:] == ["A.pcap"] * 3
    assert linked[:8] == [f"{i}.pcap" for i in range(8)]
    for seed in range(10):
        splits, _ = by_capture(data, SHARES, seed)
        where = [s for s, w in splits.items() if {18, 20} & set(data.windows.flow[w] * 2)]
        assert len(where) == 1


def test_captures_of_two_classes_that_share_a_flow_stay_together():
    rows = [(f"{c}{i}.pcap", c, [name(10 * c + i)], 2) for c in range(2) for i in range(4)]
    rows += [("x.pcap", 0, [name(99)], 2), ("y.pcap", 1, [name(99, back=True)], 2)]
    data = extracted(rows)
    for seed in range(10):
        splits, _ = by_capture(data, SHARES, seed)
        where = [s for s, w in splits.items() if {8, 9} & set(data.windows.flow[w])]
        assert len(where) == 1


def test_classes_of_few_captures_say_what_they_lack():
    rows = [(f"{i}.pcap", 0, [name(i)], 3) for i in range(6)]
    rows += [
        ("a.pcap", 1, [name(20)], 3),
        ("b.pcap", 1, [name(21)], 3),
        ("c.pcap", 2, [name(30)], 3),
    ]
    data = extracted(rows)
    splits, lacking = by_capture(data, SHARES, 0)
    assert set(data.label[splits["val"]]) == {0}
    assert set(data.label[splits["test"]]) == {0, 1}
    assert set(data.label[splits["train"]]) == {0, 1, 2}
    assert lacking == {
        "splits of Video_Tor": "train+test only: too few captures",
        "splits of Video_VPN": "train only: too few captures",
    }


def test_bad_shares():
    with pytest.raises(DataError, match="add up to 1"):
        by_window(many(), {"train": 0.9, "val": 0.9, "test": 0.1}, 0)
