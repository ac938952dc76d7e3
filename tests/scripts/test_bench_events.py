"""The benchmark refuses to time what differs."""

import pytest

from scripts import bench_events
from snnexp.data.events import Sensor


@pytest.mark.parametrize("by", ["number", "time"])
def test_all_that_is_timed_agrees(by):
    pytest.importorskip("tonic")
    rates = bench_events.compare(3_001, Sensor(20, 30), by, 1)
    assert set(rates) >= {"tonic", "snnexp", "snnexp, checked", "snnexp, streamed"}
    assert min(rates.values()) > 0


def test_a_peer_that_differs_ends_the_run(monkeypatch):
    pytest.importorskip("tonic")
    _, make = bench_events.PEERS["tonic"]
    monkeypatch.setitem(bench_events.PEERS, "tonic", ("last", make))
    with pytest.raises(SystemExit, match="ours and tonic differ"):
        bench_events.compare(3_001, Sensor(20, 30), "number", 1)


def test_rows_are_appended_under_one_header(tmp_path):
    path = tmp_path / "bench.csv"
    for rate in ("1.0", "2.0"):
        bench_events._append(path, [{"program": "snnexp", "million_events_s": rate}])
    assert path.read_text().split() == ["program,million_events_s", "snnexp,1.0", "snnexp,2.0"]
