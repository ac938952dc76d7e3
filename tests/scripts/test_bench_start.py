"""The benchmark of a start: the override is taken, the time is told, a start that fails is said."""

import subprocess
import time

import pytest
from hydra.utils import instantiate

from scripts import bench_start
from snnexp.config.compose import compose_config
from snnexp.config.validate import validate


def test_a_run_tells_when_its_first_step_is_done_and_ends(tmp_path, monkeypatch):
    path = tmp_path / "some, place" / "first_step"
    path.parent.mkdir()
    cfg = validate(compose_config([bench_start.watching(path)]))
    callback = instantiate(cfg.callbacks.first_step)
    ended = []
    monkeypatch.setattr(bench_start.os, "_exit", ended.append)
    before = time.time()
    callback.on_train_batch_end(None, None, None, None, 0)
    assert before <= float(path.read_text()) <= time.time()
    assert ended == [0]


def test_a_start_that_makes_no_step_is_said(monkeypatch):
    def refused(command, **options):
        return subprocess.CompletedProcess(command, 2, "", "error: 1 problem")

    monkeypatch.setattr(bench_start.subprocess, "run", refused)
    with pytest.raises(RuntimeError, match=r"(?s)task=mnist .* made no step:.*1 problem"):
        bench_start.start(["task=mnist"])
