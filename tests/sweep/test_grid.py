"""A sweep through the command line: what is run, skipped, redone, told."""

import json
import os
import statistics

import pytest

from snnexp.sweep.folder import SweepFolder

pytestmark = [
    pytest.mark.usefixtures("steady_code"),
    pytest.mark.filterwarnings(
        "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
    ),
]


def test_the_table_has_mean_spread_and_n_best_first(sweeps):
    assert sweeps("seed=0,1", "optimizer.lr=1e-6,0.05") == 0
    runs = sweeps.runs()
    assert len(runs) == 4
    table = sweeps.table()
    assert [row["optimizer.lr"] for row in table] == ["0.05", "1e-06"]
    for row in table:
        lr = float(row["optimizer.lr"])
        of_row = [r for r in runs if r.config["optimizer"]["lr"] == lr]
        values = [r.metrics.selected["test/acc"] for r in of_row]
        assert (row["metric"], row["n"], row["jobs"]) == ("test/acc", "2", "2")
        assert float(row["mean"]) == pytest.approx(sum(values) / 2)
        assert float(row["std"]) == pytest.approx(statistics.stdev(values))
    assert len(sweeps.table("jobs")) == 4
    assert (sweeps.folder / "sweep.png").stat().st_size > 5000
    assert "mean ± sample standard deviation over seed" in sweeps.screen
    manifest = json.loads((sweeps.folder / "manifest.json").read_text())
    assert len({job["key"] for job in manifest["jobs"]}) == 4
    # the record of a run repeats that run alone
    assert all("seed=0,1" not in r.command for r in runs)
    assert all(f"seed={r.seed}" in r.command for r in runs)
    assert all("sweep" not in r.config for r in runs)


def test_finished_jobs_are_skipped_and_their_figures_taken(sweeps):
    assert sweeps("seed=0") == 0
    (before,) = sweeps.runs()
    assert sweeps("seed=0,1") == 0
    assert [r.seed for r in sweeps.runs()] == [0, 1]
    assert sweeps.runs()[0] == before
    assert sweeps.table()[0]["n"] == "2"
    assert "1 of them finished before" in sweeps.screen
    # of another configuration nothing is taken
    assert sweeps("seed=0", "optimizer.lr=0.03") == 0
    assert len(sweeps.runs()) == 3


def test_other_code_is_no_answer(sweeps, monkeypatch):
    from snnexp import outcome
    from snnexp.report.record import Code
    from snnexp.sweep import grid, job

    def at(commit, changes=None):
        code = Code(commit=commit, dirty=changes is not None, changes=changes)
        for module in (outcome, grid, job):
            monkeypatch.setattr(module, "code_state", lambda: code)

    at("a" * 40)
    assert sweeps("seed=0") == 0
    at("b" * 40)
    assert sweeps("seed=0") == 0
    at("b" * 40, changes="1")
    assert sweeps("seed=0") == 0
    assert [(r.code.commit[0], r.code.changes) for r in sweeps.runs()] == [
        ("a", None),
        ("b", None),
        ("b", "1"),
    ]
    assert sweeps("seed=0") == 0
    assert len(sweeps.runs()) == 3


def test_a_failing_job_stops_and_hides_no_other(sweeps):
    # a batch of nothing: refused by torch when the job runs, not by the validation
    assert sweeps("task.batch_size=0,8") == 1
    assert [r.status for r in sweeps.runs()] == ["failed", "complete"]
    assert "failed job 1: task.batch_size=0" in sweeps.screen
    assert "ValueError: batch_size should be a positive integer" in sweeps.screen
    good, bad = sweeps.table()
    assert (good["task.batch_size"], good["n"]) == ("8", "1")
    assert (bad["task.batch_size"], bad["n"], bad["mean"]) == ("0", "0", "")
    # failed jobs are redone, finished ones are not; redo=none leaves both
    assert sweeps("task.batch_size=0,8") == 1
    assert [r.status for r in sweeps.runs()] == ["failed", "complete", "failed"]
    assert sweeps("task.batch_size=0,8", "sweep.redo=none") == 1
    assert len(sweeps.runs()) == 3
    assert "batch_size should be a positive integer" in sweeps.screen


def test_the_same_run_counts_once(sweeps):
    assert sweeps("seed=0", "model.channels=[4],[4]") == 0
    assert len(sweeps.runs()) == 1
    assert [row["n"] for row in sweeps.table()] == ["1"]


def test_redo_all_begins_anew(sweeps):
    assert sweeps("seed=0") == 0
    assert sweeps("seed=0", "sweep.redo=all") == 0
    first, second = sweeps.runs()
    assert first.config_hash == second.config_hash
    assert sweeps.table("jobs")[0]["run"].endswith(second.id)


def test_one_invalid_combination_is_that_jobs_failure(sweeps):
    assert sweeps("trainer.max_epochs=1,0") == 1
    assert len(sweeps.runs()) == 1
    assert "trainer.max_epochs: at least 1 is needed, given 0" in sweeps.screen


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lrr=0.1,0.2", "Did you mean 'optimizer.lr'"),
        ("+optimizer.lrr=0.1,0.2", "Did you mean 'lr'"),
        ("modell=conv_snn,fc_snn", "Did you mean 'model'"),
        ("model=conv_snn,fc_sn", "there is no configs/model/fc_sn.yaml. Did you mean 'fc_snn'"),
        ("sweep.redo=al", "sweep.redo: Input should be 'failed', 'all' or 'none' (given: 'al')"),
        ("sweep.redoo=all", "Did you mean 'sweep.redo'"),
        ("sweep.name=a/b", "sweep.name: given 'a/b'"),
        ("sweep=seeds6", "there is no configs/sweep/seeds6.yaml. Did you mean 'seeds5'?"),
        ("optimizer.lr=interval(0,1)", "intervals are for a search"),
    ],
)
def test_a_mistake_is_refused_before_any_job_starts(sweeps, override, expected):
    assert sweeps("seed=0,1", override) == 2
    assert expected in sweeps.errors
    assert not list(sweeps.output.iterdir())


def test_two_sweeps_do_not_share_a_folder(sweeps):
    other = SweepFolder(sweeps.folder)
    other.hold()
    assert sweeps("seed=0") == 2
    assert "another sweep is at work in this folder" in sweeps.errors
    assert f"process {os.getpid()}" in sweeps.errors
    assert "sweep.name=" in sweeps.errors
    assert not sweeps.runs()
    other.release()


def test_the_same_command_has_the_same_folder(sweeps, monkeypatch):
    monkeypatch.setattr(type(sweeps), "arguments", without_name)
    assert sweeps("seed=0") == 0
    assert sweeps("seed=0") == 0
    assert len(list((sweeps.output / "sweeps").iterdir())) == 1
    assert sweeps("seed=0,1") == 0
    names = sorted(p.name for p in (sweeps.output / "sweeps").iterdir())
    assert len(names) == 2
    assert all(name.startswith("toy-conv_snn-") for name in names)
    assert len(sweeps.runs()) == 2


def without_name(self, *overrides):
    from tests.sweep.conftest import TOY

    return ["-m", *TOY, f"output_dir={self.output}", *overrides]


def test_a_sweep_file_needs_no_flag_and_the_command_line_wins(sweeps, monkeypatch):
    monkeypatch.setattr(type(sweeps), "arguments", lambda self, *o: without_name(self, *o)[1:])
    assert sweeps("sweep=seeds5", "seed=4") == 0
    assert [r.seed for r in sweeps.runs()] == [4]


def test_ctrl_c_ends_with_a_table_and_the_sweep_goes_on_later(sweeps, monkeypatch):
    from snnexp.training import callbacks

    seen = []

    def cut_second(self, trainer, *args):
        if trainer.current_epoch == 1:
            seen.append(1)
            if len(seen) > 2:  # the second job's second epoch
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.FiniteLoss, "on_train_batch_end", cut_second)
        assert sweeps("seed=0,1,2", "trainer.max_epochs=2") == 130
    assert [r.status for r in sweeps.runs()] == ["complete", "interrupted"]
    assert "3 jobs: 1 complete, 1 interrupted, 1 waiting" in sweeps.screen
    assert "The same command goes on" in sweeps.screen
    assert sweeps("seed=0,1,2", "trainer.max_epochs=2") == 0
    runs = sweeps.runs()
    assert [(r.seed, r.status, r.resumes) for r in runs] == [
        (0, "complete", 0),
        (1, "complete", 1),
        (2, "complete", 0),
    ]
