"""A cache folder is complete or absent, whatever happens while it is built."""

import errno
import json
import multiprocessing as mp
import os
import time

import pytest

from snnexp.data import cache
from snnexp.data.base import DataError

SOURCES = [cache]


def test_builds_once_and_returns_the_same_folder(tmp_path):
    calls = []

    def build(path):
        calls.append(path)
        (path / "x.txt").write_text("1")

    first = cache.cached(tmp_path, {"a": 1}, SOURCES, build, "features")
    second = cache.cached(tmp_path, {"a": 1}, SOURCES, build, "features")
    assert first == second
    assert len(calls) == 1
    assert (first / "x.txt").read_text() == "1"
    assert json.loads((first / "manifest.json").read_text())["key"] == {"a": 1}


def test_key_and_source_both_change_the_folder(tmp_path):
    source = tmp_path / "s.py"
    source.write_text("1")
    one = cache.digest({"a": 1}, [source])
    assert cache.digest({"a": 2}, [source]) != one
    source.write_text("2")
    assert cache.digest({"a": 1}, [source]) != one


def test_failed_build_leaves_nothing(tmp_path):
    def build(path):
        (path / "x.txt").write_text("half")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        cache.cached(tmp_path, {}, SOURCES, build, "features")
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


def test_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path):
    def build(path):
        (path / "x.txt").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=r"No space left on device.*cache_dir"):
        cache.cached(tmp_path, {}, SOURCES, build, "features")
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


def test_leftover_of_a_killed_build_is_removed(tmp_path):
    final = tmp_path / cache.digest({}, SOURCES)
    leftover = final.with_name(final.name + ".tmp-999")
    leftover.mkdir()
    cache.cached(tmp_path, {}, SOURCES, lambda p: None, "features")
    assert not leftover.exists()


def test_unwritable_folder_is_a_clear_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DataError, match="features could not be written"):
        cache.cached(blocked / "below", {}, SOURCES, lambda p: None, "features")


def _slow_build(path):
    time.sleep(0.3)
    (path / f"by-{os.getpid()}").touch()


def _work(folder):
    cache.cached(folder, {}, SOURCES, _slow_build, "features")


def test_two_processes_build_once(tmp_path):
    context = mp.get_context("spawn")
    workers = [context.Process(target=_work, args=(tmp_path,)) for _ in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert [w.exitcode for w in workers] == [0, 0]
    assert len(list(tmp_path.glob("*/by-*"))) == 1
