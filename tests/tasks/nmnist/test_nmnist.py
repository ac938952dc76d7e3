"""N-MNIST: the five bytes of an event, the sample, excerpts and damaged files."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from snnexp.data import download
from snnexp.data.base import DataError
from snnexp.data.events import Events
from tasks.nmnist import datamodule, sample
from tasks.nmnist.recording import read_bin, write_bin
from tests.tasks.event_tasks import build, contents, zipped
from tests.tasks.one_file import taken_up


def test_the_stated_bytes(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(bytes([33, 2, 0x80 | 0x01, 0x02, 0x03, 0, 31, 0x7F, 0xFF, 0xFF]))
    events = read_bin(path, "error", Counter())
    assert events.x.tolist() == [33, 0]
    assert events.y.tolist() == [2, 31]
    assert events.p.tolist() == [1, 0]
    assert events.t.tolist() == [0x010203, 0x7FFFFF]


def test_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    n = 500
    t = np.sort(rng.integers(0, 1 << 23, n))
    events = Events(rng.integers(0, 34, n), rng.integers(0, 34, n), t, rng.integers(0, 2, n))
    write_bin(tmp_path / "1.bin", events)
    again = read_bin(tmp_path / "1.bin", "error", Counter())
    for name in "xytp":
        np.testing.assert_array_equal(getattr(again, name), getattr(events, name))


def test_time_beyond_23_bits_is_refused(tmp_path):
    one = np.ones(1, np.int64)
    with pytest.raises(ValueError, match="23 bits"):
        write_bin(tmp_path / "1.bin", Events(one, one, one << 23, one))


def test_a_cut_file(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(bytes(23))
    with pytest.raises(DataError, match=r"1\.bin has 23 bytes"):
        read_bin(path, "error", Counter())
    notes = Counter()
    assert len(read_bin(path, "drop", notes)) == 4
    assert notes == {"truncated files": 1}


@pytest.fixture
def small(monkeypatch):
    class Few:
        images = sample.load_digits().images[:80]
        target = sample.load_digits().target[:80]

    monkeypatch.setattr(sample, "load_digits", lambda: Few)
    monkeypatch.setattr(sample, "N_TEST", 20)


def test_sample_runs_through_the_loader(tmp_path, small):
    task = build("nmnist", tmp_path)
    task.prepare_data()
    task.setup()
    sizes = task.sizes()
    assert sizes["test"] == 20
    assert sizes["train"] + sizes["val"] == 60
    assert task.spec.step_shape == (2, 34, 34)
    batch = next(iter(task.train_dataloader()))
    assert batch["input"].shape == (32, 10, 2, 34, 34)
    # a recording of N-MNIST has about 4,000 events
    assert 1000 < batch["input"].sum() / 32 < 12_000
    assert task.report().variant == "sample"


def test_sample_has_the_same_bytes_each_time(tmp_path, small):
    one, two = (build("nmnist", tmp_path / k).locate() for k in "ab")
    assert contents(one) == contents(two)


def write_excerpt(folder):
    zero = np.zeros(30, np.uint8)
    for split, digits in (("Train", (0, 0, 3, 3)), ("Test", (0, 3))):
        for i, digit in enumerate(digits):
            path = folder / split / str(digit) / f"{i:05d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bin(path, Events(zero, zero, np.arange(30), zero))


@pytest.mark.parametrize("below", ["NMNIST", "."])
def test_an_excerpt_says_so(tmp_path, below):
    write_excerpt(tmp_path / below)
    task = build("nmnist", tmp_path / "c", "val_by=none", data="real", data_dir=str(tmp_path))
    task.setup()
    report = task.report()
    counts = "4 of 60,000 training and 2 of 10,000 test recordings"
    assert report.source == f"N-MNIST, an excerpt: {counts}"
    assert report.excerpt == counts
    assert report.sizes == {"train": 4, "val": 0, "test": 2}


def test_missing_data_are_fetched(tmp_path, monkeypatch):
    write_excerpt(tmp_path / "there")
    archives = {
        k: zipped(tmp_path / "there" / k, tmp_path / f"{k}.zip", k) for k in ("Train", "Test")
    }
    monkeypatch.setattr(datamodule, "ARCHIVES", archives)
    here = tmp_path / "here"
    task = build("nmnist", tmp_path / "c", "val_by=none", data="real", data_dir=str(here))
    task.setup()
    assert task.sizes() == {"train": 4, "val": 0, "test": 2}


def test_what_cannot_be_fetched_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    gone = {
        k: replace(r, urls=((tmp_path / "gone").as_uri(),)) for k, r in datamodule.ARCHIVES.items()
    }
    monkeypatch.setattr(datamodule, "ARCHIVES", gone)
    task = build("nmnist", tmp_path, data="real", data_dir=str(tmp_path))
    pattern = r"(?s)no Test in .*NMNIST/Train/<digit>.*20959b8e626244a1b502305a9e6e2031"
    with pytest.raises(DataError, match=pattern):
        task.prepare_data()


def test_a_recording_alone_is_that_of_the_data_set(tmp_path, small):
    task = build("nmnist", tmp_path / "c")
    task.setup()
    fresh = taken_up(task, build("nmnist", tmp_path / "none"), tmp_path / "run")
    recordings = [r for r in task.recordings(task.locate()) if r.role == "test"]
    for i in (0, 7):
        (one,) = fresh.read_input(recordings[i].path)
        assert torch.equal(one.input, task.datasets["test"][i]["input"])
    (tmp_path / "empty.bin").touch()
    with pytest.raises(DataError, match=r"empty\.bin holds no events"):
        fresh.read_input(tmp_path / "empty.bin")
