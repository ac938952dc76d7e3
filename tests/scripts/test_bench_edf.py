"""The signals that are timed are equal, or the run ends."""

import pytest

from scripts import bench_edf


@pytest.fixture
def noise(tmp_path):
    path = tmp_path / "noise.edf"
    bench_edf.write_noise(path, channels=3, rate=64, seconds=5)
    return path


def test_all_that_is_timed_agrees(noise):
    rows = bench_edf.measure(noise, repeats=1)
    assert [(r.provider, r.n, r.t) for r in rows] == [
        ("snnexp", 3, 320),
        ("mne", 3, 320),
        ("edfio", 3, 320),
    ]
    assert rows[0].ratio == pytest.approx(rows[1].ms / rows[0].ms)


def test_a_peer_that_differs_ends_the_run(noise, monkeypatch):
    true = bench_edf.of_mne
    monkeypatch.setitem(bench_edf.PROGRAMS, "mne", lambda path: true(path) + 0.01)
    with pytest.raises(SystemExit, match=r"signals of mne and snnexp differ in .*noise\.edf"):
        bench_edf.measure(noise, repeats=1)
