import os
import subprocess
import sys

import pytest

from scripts import reproduce_all
from snnexp.data.download import OFFLINE


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["reproduce_all", *words])
    return reproduce_all.main()


@pytest.fixture
def jobs(monkeypatch):
    """Commands that would have been run; those with `strict` in their name fail."""
    ran: list[list[str]] = []

    def job(command, check):
        ran.append(command[1:])
        assert OFFLINE not in os.environ
        return subprocess.CompletedProcess(command, int("strict" in command[4]))

    monkeypatch.setattr(reproduce_all.subprocess, "run", job)
    return ran


def test_one_that_fails_stops_no_other_and_is_named(jobs, monkeypatch, capsys):
    words = ["--sample", "--only", "pellegrini2021_*", "--seeds", "0,1", "trainer.max_epochs=1"]
    assert run(monkeypatch, *words) == 1
    expected = [
        ["-m", "snnexp", "-m", f"experiment={name}", "data=sample", "seed=0,1",
         "trainer.max_epochs=1"]
        for name in ("pellegrini2021_speech", "pellegrini2021_speech_strict")
    ]  # fmt: skip
    assert jobs == expected
    shown = capsys.readouterr().out.split("outcome")[1]
    assert "done: pellegrini2021_speech\n" in shown
    assert "failed: pellegrini2021_speech_strict" in shown


def test_experiments_without_data_are_listed_with_the_reason_and_not_run(
    jobs, monkeypatch, capsys, tmp_path
):
    only = ["--only", "pellegrini2021_*", f"data_dir={tmp_path}", f"cache_dir={tmp_path}"]
    names = ["pellegrini2021_speech", "pellegrini2021_speech_strict"]
    assert run(monkeypatch, *only) == 0
    assert jobs == []
    shown = " ".join(capsys.readouterr().out.split("outcome")[1].split())
    assert f"no data: {', '.join(names)}" in shown
    assert "downloads are off" in shown
    assert "speech_commands_v0.01.tar.gz" in shown.replace(" ", "")
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_breaks_is_an_outcome(monkeypatch):
    monkeypatch.setattr(reproduce_all, "instantiate", lambda *a, **k: 1 / 0)
    assert reproduce_all.check("pellegrini2021_speech", []).why.startswith("its data: ZeroDivision")
    assert reproduce_all.check("pellegrini2021_speech", ["no.such.key=1"]).what == "failed"


def test_a_pattern_that_names_nothing_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--only", "nothing*")
    assert "no file of configs/experiment" in capsys.readouterr().err
