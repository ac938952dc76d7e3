"""Sweeps through each launcher: real processes, started by the real packages."""

import os

import joblib
import pytest

from snnexp.config.validate import ConfigError
from snnexp.sweep import extras
from tests.sweep.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::UserWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning",
        "ignore::FutureWarning", "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _reachable(monkeypatch):
    """The launchers' processes import the tests' task; how many threads is left to them."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def test_joblib_divides_the_threads_and_survives_a_job_that_dies(sweeps):
    status = sweeps(
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "task._target_=tests.sweep.dying.DyingTask",
        "task.noise=0.3,9",
    )
    assert status == 1
    (good,) = [r for r in sweeps.runs() if r.status == "complete"]
    assert good.environment.threads == max(1, joblib.cpu_count() // 2)
    assert good.pid != os.getpid()
    died = [r for r in sweeps.runs() if r.status != "complete"]
    assert {(r.status, r.error) for r in died} == {("interrupted", "its process was killed")}
    assert "2 jobs: 1 complete, 1 failed" in sweeps.screen
    assert "failed job 2: task.noise=9" in sweeps.screen
    assert "the launcher failed: TerminatedWorkerError" in sweeps.screen


def test_submitit_runs_a_job_in_a_process_of_its_own(sweeps):
    pytest.importorskip("submitit")
    assert sweeps("hydra/launcher=submitit_local") == 0
    (run,) = sweeps.runs()
    assert run.pid != os.getpid()
    assert sweeps.table()[0]["n"] == "1"


def test_ray_runs_a_job_as_a_task(sweeps):
    pytest.importorskip("ray")
    assert sweeps("hydra/launcher=ray", "hydra.launcher.init.num_cpus=1") == 0
    (run,) = sweeps.runs()
    assert run.environment.threads == 1
    assert run.pid != os.getpid()
    assert sweeps.table()[0]["n"] == "1"


def test_a_launcher_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'joblib'"):
        extras.check_launcher(["hydra/launcher=jobllib"])
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "snnexp\[slurm\]"'):
        extras.check_launcher(["-m", "hydra/launcher=slurm", "seed=0,1"])
