"""Where files of event-camera tasks are looked for, and what an archive brings along."""

import zipfile

import pytest

from snnexp.data import download
from snnexp.data.base import DataError
from snnexp.data.download import Remote
from snnexp.data.event_files import find_or_fetch, find_root, inner


def test_find_root_says_what_it_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no Train in .*NMNIST, .*\nget it"):
        find_root(tmp_path, ["NMNIST"], "Train", "get it")
    (tmp_path / "Train").mkdir()
    assert find_root(tmp_path, ["NMNIST"], "Train", "") == tmp_path
    (tmp_path / "NMNIST" / "Train").mkdir(parents=True)
    assert find_root(tmp_path, ["NMNIST"], "Train", "") == tmp_path / "NMNIST"


def test_what_is_missing_is_fetched_once(tmp_path, monkeypatch):
    archive = tmp_path / "Train.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("Train/0/00001.bin", b"12345")
    remote = Remote(name="Train.zip", urls=(archive.as_uri(),), checksum=None, title="some digits")
    words = tmp_path / "d", ["NMNIST", "N-MNIST"], "Train", "get it", {"Train": remote}
    root = find_or_fetch(*words)
    assert root == tmp_path / "d" / "NMNIST"
    assert inner(root / "Train") == root / "Train" / "Train"
    assert (inner(root / "Train") / "0" / "00001.bin").read_bytes() == b"12345"
    assert inner(root) == root
    archive.unlink()
    assert find_or_fetch(*words) == root


def test_what_cannot_be_fetched_is_said_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    gone = Remote(
        name="a.zip", urls=((tmp_path / "a.zip").as_uri(),), checksum=None, title="some digits"
    )
    with pytest.raises(DataError, match=r"(?s)no Train in .*get it.*a\.zip"):
        find_or_fetch(tmp_path, ["NMNIST"], "Train", "get it", {"Train": gone})
