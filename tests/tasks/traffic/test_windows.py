import numpy as np
import pytest

from tasks.traffic.flows import Flows
from tasks.traffic.windows import WindowRule, cut


def rule(**changes):
    values = {
        "length": 60.0,
        "stride": 15.0,
        "min_packets": 10,
        "min_span": 40.0,
        "clock": "direction",
        "max_per_flow": 1000,
    }
    return WindowRule(**{**values, **changes})


def flows_of(*pairs):
    """`pairs` are (times of direction 0, times of direction 1); sizes number the packets."""
    times = [np.asarray(t, float) for pair in pairs for t in pair]
    ends = np.append(0, np.cumsum([len(t) for t in times]))
    time = np.concatenate(times)
    first = np.append(ends, ends[-1]).reshape(-1, 2)
    names = tuple(f"flow {f}" for f in range(len(pairs)))
    return Flows(time, np.arange(len(time), dtype=np.int32), first, names)


def authors(one, two):
    """Return (window number, packets of direction 0, of direction 1) as the authors' code does."""
    one = [round(t - one[0], 6) for t in one]
    two = [round(t - two[0], 6) for t in two] if len(two) else []
    end = max(one[-1], two[-1] if two else 0)
    kept = []
    for t in range(int(end / 15 - 4) + 1):
        inside = [[i for i, x in enumerate(ts) if t * 15 <= x <= t * 15 + 60] for ts in (one, two)]
        sides = [(one, inside[0]), (two, inside[1])] if two else [(one, inside[0])]
        if all(len(k) >= 10 and ts[k[-1]] - ts[k[0]] >= 40 for ts, k in sides):
            kept.append((t, len(inside[0]), len(inside[1])))
    return kept


def seen(windows):
    counts = np.diff(windows.bounds, axis=2)[..., 0]
    numbers = np.round(windows.start / 15).astype(int)
    return [(int(t), int(a), int(b)) for t, (a, b) in zip(numbers, counts, strict=True)]


@pytest.mark.parametrize("seed", range(6))
def test_windows_equal_the_authors_loop(seed):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(20):
        n, m = rng.integers(5, 80, 2)
        length = rng.uniform(30, 200)
        base = 1.6e9 + rng.uniform(0, 1e6)
        one = np.sort(base + rng.uniform(0, length, n).round(6))
        two = np.sort(base + rng.uniform(0, length, m).round(6)) if rng.random() < 0.8 else []
        pairs.append((one, two))
    windows, counts = cut(flows_of(*pairs), rule())
    expected = [(f, *w) for f, pair in enumerate(pairs) for w in authors(*pair)]
    found = [(int(f), *w) for f, w in zip(windows.flow, seen(windows), strict=True)]
    assert found == expected
    assert counts.tried == len(found) + counts.too_few_packets + counts.too_short


@pytest.mark.parametrize(
    ("seconds", "tried"), [(44.9, 0), (45.0, 0), (45.1, 1), (74.9, 1), (75.0, 2), (120.0, 5)]
)
def test_how_many_windows_are_tried(seconds, tried):
    times = np.linspace(0, seconds, 500)
    assert cut(flows_of((times, [])), rule())[1].tried == tried


def test_reasons_are_counted():
    few = np.linspace(0, 60, 9)
    short = np.append(np.linspace(0, 20, 50), 60.5)[:-1]
    long = np.linspace(0, 60, 50)
    _, counts = cut(flows_of((few, []), (long, short), (long, long)), rule())
    assert (counts.tried, counts.too_few_packets, counts.too_short) == (3, 1, 1)


def test_clocks():
    one, two = np.linspace(100, 170, 141), np.linspace(107, 177, 141)
    apart, _ = cut(flows_of((one, two)), rule(clock="direction"))
    together, _ = cut(flows_of((one, two)), rule(clock="flow"))
    assert apart.time.min() == together.time.min() == 0
    low, high = apart.bounds[0, 1]
    assert apart.time[low] == 0
    assert apart.time[high - 1] == 60
    low, high = together.bounds[0, 1]
    assert together.time[low] == 7
    assert together.time[high - 1] == 60


def test_a_flow_that_never_ends_is_bounded_and_counted():
    times = np.arange(0, 20_000, 2.0)
    windows, counts = cut(flows_of((times, times)), rule(max_per_flow=50))
    assert len(windows) == 50
    assert counts.beyond_limit == (20_000 - 2 - 60) // 15 + 1 - 50


def test_packets_of_flows_without_windows_are_left_out():
    good, bad = np.linspace(0, 80, 200), np.linspace(0, 10, 300)
    flows = flows_of((bad, bad), (good, good + 1), (bad, []), (good + 5, []))
    windows, _ = cut(flows, rule())
    assert len(windows.time) == 600
    assert windows.flow.tolist() == [1, 1, 3, 3]
    for w in range(len(windows)):
        for d in range(2):
            low, high = windows.bounds[w, d]
            inside = flows.size[flows.first[windows.flow[w], 0] :]
            if low < high:
                offset = flows.first[windows.flow[w], d] - flows.first[windows.flow[w], 0]
                assert windows.size[low] == inside[offset + int(windows.start[w] > 0) * 38]


def test_no_flows():
    none = Flows(np.zeros(0), np.zeros(0, np.int32), np.zeros((1, 2), np.int64), ())
    windows, counts = cut(none, rule())
    assert (len(windows), counts.tried) == (0, 0)
