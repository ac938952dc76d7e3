"""A run of two real processes is told to stop, by SIGTERM or by Slurm, or one of them is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from snnexp.report.record import read_result
from tests.faults.test_stop import SCONTROL
from tests.sweep.conftest import ROOT, TOY

WORDS = (
    *TOY, "task._target_=tests.held.HeldTask", "seed=1", "trainer.max_epochs=2",
    "trainer.limit_train_batches=4", "resume=auto",
)  # fmt: skip
TWO = ("trainer=ddp", "trainer.devices=2")


def start(folder, *words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "snnexp", *WORDS, *words, f"output_dir={folder}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", **environment},
        cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def task(folder, rank, port, by):
    """Start one of two processes, as Slurm or torchrun does."""
    if by == "slurm":
        world = {"SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "x", "SLURM_NNODES": "1"}
        world |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0"}
        world |= {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    else:
        world = {"WORLD_SIZE": "2", "RANK": str(rank)}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    more = {"HOLD": str(folder / "hold"), "SAID": str(folder / "said")}
    path = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return start(folder / "out", *TWO, **world, **place, **more, **path)


def record(folder):
    (file,) = folder.glob("out/runs/*/*/*/result.json")
    return read_result(file)


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """The record of the same run by one process, never stopped."""
    folder = tmp_path_factory.mktemp("uncut")
    process = start(folder / "out")
    screen, _ = process.communicate(timeout=120)
    assert process.returncode == 0, screen
    return record(folder)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["SIGTERM", "slurm", "kill"])
def test_two_processes_stop_together_and_go_on_to_the_same_end(tmp_path, uncut, by):
    hold, held = tmp_path / "hold", tmp_path / "hold.held"
    hold.touch()
    (tmp_path / "scontrol").write_text(SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)
    if by == "SIGTERM":
        # the first process starts the other, and passes the signal on
        processes = [start(tmp_path / "out", *TWO, HOLD=str(hold))]
    else:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        processes = [task(tmp_path, rank, port, by) for rank in range(2)]
    try:
        deadline = time.monotonic() + 120
        while not held.exists() and all(p.poll() is None for p in processes):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if by == "kill":
            processes[1].kill()
            hold.unlink()
        else:
            for p in processes:
                p.send_signal(signal.SIGUSR1 if by == "slurm" else signal.SIGTERM)
        screens = [p.communicate(timeout=60)[0] for p in processes]
        print(*screens, sep="\n---\n")
    finally:
        for p in processes:
            with suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
    codes = {"SIGTERM": [143], "slurm": [138, 138], "kill": [2, -signal.SIGKILL]}
    assert [p.returncode for p in processes] == codes[by]
    assert record(tmp_path).status == "interrupted"
    assert "Traceback" not in "".join(screens)
    if by == "kill":
        assert "another process of this run is gone" in screens[0]
    else:
        assert screens[0].count("Go on with resume=auto") == 1
    assert (tmp_path / "said").is_file() == (by == "slurm")
    hold.unlink(missing_ok=True)
    again = start(tmp_path / "out", *TWO)
    screen, _ = again.communicate(timeout=120)
    assert again.returncode == 0, screen
    found = record(tmp_path)
    assert (found.status, found.resumes, found.environment.world_size) == ("complete", 1, 2)
    assert found.metrics.selected == pytest.approx(uncut.metrics.selected, rel=1e-4)
    assert found.firing == uncut.firing
