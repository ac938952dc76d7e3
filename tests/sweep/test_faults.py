"""Sweeps that are killed or meet another: nothing is lost, doubled, or half read."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from filelock import FileLock

from snnexp.report.record import read_result
from snnexp.sweep import job
from snnexp.sweep.folder import SweepFolder
from tests.sweep.conftest import ROOT

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)


@pytest.mark.slow
def test_a_sweep_killed_at_any_moment_goes_on(sweeps, environment):
    overrides = ("seed=0,1,2", "trainer.max_epochs=2")
    process = subprocess.Popen(
        [sys.executable, "-m", "snnexp", *sweeps.arguments(*overrides)],
        env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    delay = random.uniform(0, 2)
    print(f"killed {delay:.3f} s after the first run began")
    deadline = time.monotonic() + 120
    while not list(sweeps.output.glob("runs/*/*/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {r.id: r for r in sweeps.runs()}  # every record reads
    assert sweeps(*overrides) == 0
    complete = [r for r in sweeps.runs() if r.status == "complete"]
    assert [sorted(r.seed for r in complete)] == [[0, 1, 2]]
    for old in before.values():
        new = read_result(sweeps.output / "runs" / old.id)
        # what was finished is the very same; what was cut with a checkpoint went on in its folder
        assert new == old if old.status == "complete" else new.resumes in (0, 1)
    assert sweeps.table()[0]["n"] == "3"


def test_a_run_under_way_elsewhere_is_waited_for(sweeps, monkeypatch):
    assert sweeps("seed=0") == 0
    (done,) = sweeps.runs()
    folder = sweeps.output / "runs" / done.id
    # the same run as another process has it in hand, and finishes it while the sweep waits
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "metrics.csv":
            file.unlink()
    held = FileLock(folder / ".lock")
    held.acquire()
    running = done.model_copy(deep=True)
    running.status = "running"
    running.write(folder)
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            done.write(folder)
            held.release()

    monkeypatch.setattr(job, "time", SimpleNamespace(sleep=sleep))
    assert sweeps("seed=0") == 0
    assert len(pauses) == 3
    assert [r.id for r in sweeps.runs()] == [done.id]
    assert sweeps.table()[0]["n"] == "1"


def test_a_damaged_record_is_left_aside(sweeps):
    assert sweeps("seed=0") == 0
    (done,) = sweeps.runs()
    (sweeps.output / "runs" / done.id / "result.json").write_text('{"schema_version": 1, "id"')
    assert sweeps("seed=0") == 0
    files = list(sweeps.output.glob("runs/*/*/*/result.json"))
    assert len(files) == 2
    assert sweeps.table()[0]["n"] == "1"


def test_a_damaged_file_of_a_job_is_named(sweeps):
    assert sweeps("task.batch_size=0") == 1
    (file,) = (sweeps.folder / "jobs").glob("*.json")
    file.write_text("{")
    assert sweeps("task.batch_size=0", "sweep.redo=none") == 2
    assert str(file.name) in sweeps.errors.replace("\n", "")
    assert "remove it" in sweeps.errors


def test_a_place_that_cannot_be_written_to_is_named(sweeps):
    (sweeps.output / "file").write_text("in the way")
    assert sweeps("seed=0", f"output_dir={sweeps.output}/file") == 2
    assert "the sweep's folder cannot be made" in sweeps.errors
    assert "output_dir=<folder>" in sweeps.errors


def test_a_full_disk_is_said_without_a_traceback(sweeps, monkeypatch):
    def full(self, *words):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "manifest")

    monkeypatch.setattr(SweepFolder, "write_manifest", full)
    assert sweeps("seed=0") == 2
    assert "error: manifest: No space left on device. Free some space" in sweeps.errors
    assert not sweeps.runs()


def test_a_job_that_cannot_write_its_end_is_not_waited_for(sweeps, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "_to_its_end", full)
    assert sweeps("seed=0") == 1
    assert "No space left on device" in sweeps.screen
    assert not sweeps.runs()
