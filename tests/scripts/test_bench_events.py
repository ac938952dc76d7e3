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


def test_rows_are_related_to_each_other():
    rows = bench_events.rows_of({"tonic": 10.0, "snnexp": 40.0}, "events to frames", 2_000_000)
    tonic, ours = rows
    assert (tonic.ms, ours.ms) == (200.0, 50.0)
    assert (tonic.ratio_to, tonic.ratio) == ("snnexp", 0.25)
    assert (ours.ratio_to, ours.ratio) == ("tonic", 4.0)
