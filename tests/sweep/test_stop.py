"""Sweeps that are told to stop, as real processes: by Ctrl-C in a terminal, or by SIGTERM."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from operator import attrgetter

import pytest

from tests.sweep.conftest import ROOT

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)
MORE = (
    "task._target_=tests.held.HeldTask", "seed=0,1",
    "trainer.max_epochs=2", "trainer.limit_train_batches=4",
)  # fmt: skip
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def lives(group):
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true, seconds=120):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["alone", "joblib"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_leaves_true_records_and_goes_on(
    sweeps, environment, tmp_path, signum, launcher
):
    def one_is_done():
        return "complete" in [run.status for run in sweeps.runs()]

    hold, held = tmp_path / "hold", tmp_path / "hold.held"
    hold.touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "snnexp", *sweeps.arguments(*MORE, *launcher)],
        env={**environment, "HOLD": str(hold)}, cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or (held.exists() and one_is_done()))
        # a terminal sends Ctrl-C to all processes, `kill` sends SIGTERM to one
        (os.killpg if signum == signal.SIGINT else os.kill)(process.pid, signum)
        screen, _ = process.communicate(timeout=60)
        wait_until(lambda: not lives(process.pid), 20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    print(screen)
    assert process.returncode == 130
    done, cut = sorted(sweeps.runs(), key=attrgetter("seed"))
    assert (done.status, cut.status) == ("complete", "interrupted")
    assert "2 jobs: 1 complete, 1 interrupted" in screen
    assert "The same command goes on where it was" in screen
    assert launcher or "Traceback" not in screen
    hold.unlink()
    assert sweeps(*MORE) == 0
    again, went_on = sorted(sweeps.runs(), key=attrgetter("seed"))
    assert again == done
    assert (went_on.id, went_on.status, went_on.resumes) == (cut.id, "complete", 1)
    assert sweeps.table()[0]["n"] == "2"
