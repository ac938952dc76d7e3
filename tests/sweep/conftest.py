"""Sweeps through the real command line, on a task that takes a second."""

from __future__ import annotations

import csv
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from snnexp import cli, outcome
from snnexp.report.record import Code, read_result
from snnexp.sweep import grid, job

ROOT = Path(__file__).parents[2]
TOY = (
    f"hydra.searchpath=[file://{ROOT}/tests/sweep/configs]",
    "task=toy",
    "model=conv_snn",
    "model.channels=[4]",
    "model.kernels=[[3,3]]",
    "model.dilations=[[1,1]]",
    "optimizer.lr=0.02",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.accelerator=cpu",
    "callbacks.progress.style=none",
)


class Sweeps:
    """What a test sees of the sweeps below one output folder."""

    def __init__(self, output: Path, monkeypatch, capfd) -> None:
        self.output = output
        self.name = "s"
        self._patch, self._capfd = monkeypatch, capfd
        self.screen = self.errors = ""

    def arguments(self, *overrides: str) -> list[str]:
        return ["-m", *TOY, f"output_dir={self.output}", f"sweep.name={self.name}", *overrides]

    def __call__(self, *overrides: str) -> int:
        """Run one sweep in this process; return its exit status and keep what it printed."""
        self._patch.setattr(sys, "argv", ["snnexp", *self.arguments(*overrides)])
        status: object = 0
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.screen, self.errors = self._capfd.readouterr()
        print(self.screen, self.errors)
        return int(str(status or 0))

    @property
    def folder(self) -> Path:
        return self.output / "sweeps" / self.name

    def runs(self):
        """Return every record, oldest first."""
        files = self.output.glob("runs/*/*/*/result.json")
        return sorted((read_result(f) for f in files), key=lambda r: r.started)

    def table(self, name="settings"):
        with (self.folder / f"{name}.csv").open() as stream:
            return list(csv.DictReader(stream))


@pytest.fixture
def sweeps(tmp_path, monkeypatch, capfd):
    # the pictures of each run take longer than the run
    monkeypatch.setattr(outcome, "draw", lambda *a: [])
    loggers = ("hydra", "hydra_plugins")
    levels = {name: logging.getLogger(name).level for name in loggers}
    yield Sweeps(tmp_path, monkeypatch, capfd)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def steady_code(monkeypatch):
    """Code that nobody edits while a test runs; only for sweeps within this process."""
    code = Code(commit="c" * 40, dirty=False)
    for module in (outcome, grid, job):
        monkeypatch.setattr(module, "code_state", lambda: code)


@pytest.fixture
def environment():
    """The environment of a process that imports this code and these tests from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
