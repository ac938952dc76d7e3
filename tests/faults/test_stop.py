"""A run that is told to stop (a machine taken back, Slurm's warning) can go on to the same end."""

import json
import os
import signal
from pathlib import Path

from snnexp.report.record import read_result
from snnexp.training.signals import StoppedError, requeue
from tests.faults.nursery import at, child, nursery, quiet_run

#: scontrol as Slurm has it, as far as `requeue` goes
SCONTROL = (
    '#!/bin/sh\necho "$@" > "$SAID"\n[ "$2" != "666" ] || { echo no such job >&2; exit 1; }\n'
)


def stopped(root, signum):
    """Send a signal at the end of the first epoch; return how the run ended."""
    at(root, 1, lambda: os.kill(os.getpid(), signum), "metrics")
    try:
        return quiet_run(root)
    except StoppedError as end:
        return [end.code, str(end), end.requeue]


def scenario(folder):
    root = Path(folder)
    whole = child(lambda: quiet_run(root / "whole"))
    term = child(lambda: stopped(root / "term", signal.SIGTERM))
    os.environ["SLURM_JOB_ID"] = "17"
    usr = child(lambda: stopped(root / "usr", signal.SIGUSR1))
    states = [[read_result(p).status, read_result(p).error] for p in root.glob("[tu]*/*/*/*/*")]
    ends = [child(lambda n=n: quiet_run(root / n, "resume=auto")) for n in ("term", "usr")]
    print(json.dumps({"whole": whole, "how": [term, usr], "states": states, "ends": ends}))


def test_sigterm_and_slurms_warning_leave_a_run_that_goes_on(tmp_path):
    found = nursery(__name__, "scenario", tmp_path)
    assert found["how"] == [[143, "SIGTERM", False], [138, "SIGUSR1", True]]
    assert sorted(found["states"]) == [
        ["interrupted", "StoppedError: SIGTERM"],
        ["interrupted", "StoppedError: SIGUSR1"],
    ]
    assert found["ends"] == [found["whole"]] * 2
    for name in ("term", "usr"):
        (record,) = (tmp_path / name).glob("runs/*/*/*/result.json")
        assert read_result(record).status == "complete"
        assert read_result(record).resumes == 1


def test_a_job_is_requeued_by_its_number_or_its_place_in_an_array(tmp_path, monkeypatch, caplog):
    (tmp_path / "scontrol").write_text(SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    requeue({"SLURM_JOB_ID": "17"})
    assert (tmp_path / "said").read_text() == "requeue 17\n"
    requeue({"SLURM_JOB_ID": "18", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"})
    assert (tmp_path / "said").read_text() == "requeue 17_3\n"
    requeue({"SLURM_JOB_ID": "666"})
    assert "did not requeue job 666" in caplog.text
    assert "no such job" in caplog.text
