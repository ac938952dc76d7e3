"""A search: its trials, its memory, its pruning, what it refuses."""

import pytest

from snnexp.sweep.jobs import given

optuna = pytest.importorskip("optuna")

from snnexp.sweep.pruning import STUDY, storage  # noqa: E402
from snnexp.sweep.search import distribution  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("steady_code"),
    pytest.mark.filterwarnings(
        "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
    ),
]

SEARCH = ("sweep=optuna", "hydra.sweeper.startup=2", "hydra.sweeper.warmup=0")
LR = "optimizer.lr=tag(log, interval(1e-5, 1e-1))"


def study(sweeps):
    return optuna.load_study(study_name=STUDY, storage=storage(sweeps.folder))


def test_a_search_resumes_where_it_was_and_asks_for_the_same(sweeps):
    assert sweeps(*SEARCH, LR, "hydra.sweeper.trials=1") == 0
    first = [t.params for t in study(sweeps).trials]
    assert len(first) == len(sweeps.runs()) == 1
    assert sweeps(*SEARCH, LR, "hydra.sweeper.trials=3") == 0
    trials = study(sweeps).trials
    assert [t.params for t in trials[:1]] == first
    assert len(trials) == len(sweeps.runs()) == 3
    # the study is told the validation figure of the selected epoch
    vals = {row["job"]: float(row["val"]) for row in sweeps.table("jobs")}
    assert [t.value for t in trials] == pytest.approx([vals["1"], vals["2"], vals["3"]])
    # in one go the same trials come out
    sweeps.name = "whole"
    assert sweeps(*SEARCH, LR, "hydra.sweeper.trials=3") == 0
    assert [t.params for t in study(sweeps).trials] == [t.params for t in trials]
    assert len(sweeps.runs()) == 3, "the runs are those of the first search"
    assert (sweeps.folder / "sweep.png").stat().st_size > 5000


def test_a_poor_trial_is_pruned(sweeps, monkeypatch):
    # what the model learns is decided here: the second trial is worse in each epoch
    from snnexp.sweep import pruning

    real = optuna.trial.Trial.report

    def report(self, value, step):
        real(self, 0.9 - 0.3 * self.number, step)

    monkeypatch.setattr(pruning.Trial, "report", report)
    status = sweeps(
        *SEARCH, LR, "hydra.sweeper.trials=2", "trainer.max_epochs=2", "hydra.sweeper.startup=1"
    )
    assert status == 0
    states = [t.state.name for t in study(sweeps).trials]
    assert states == ["COMPLETE", "PRUNED"]
    pruned = study(sweeps).trials[1]
    assert list(pruned.intermediate_values) == [0]
    assert [r.status for r in sweeps.runs()] == ["complete", "interrupted"]
    assert "pruned after epoch 1: val/acc" in sweeps.runs()[1].error
    assert "2 jobs: 1 complete, 1 pruned" in sweeps.screen


def test_seeds_repeat_a_trial(sweeps):
    assert sweeps(*SEARCH, LR, "seed=0,1", "hydra.sweeper.trials=1") == 0
    (row,) = sweeps.table()
    assert row["n"] == "2"
    (trial,) = study(sweeps).trials
    assert trial.value == pytest.approx(float(row["val_mean"]))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("seed=0,1",), "a search needs a key with several values"),
        ((LR, "select_on=test"), "select_on: a search over the test set"),
        (("optimizer.lrr=interval(0,1)",), "Did you mean 'optimizer.lr'"),
        (("optimizer.lr=tag(log, interval(0.0,1))",), "optimizer.lr"),
    ],
)
def test_what_a_search_refuses(sweeps, overrides, expected):
    assert sweeps(*SEARCH, *overrides) == 2
    assert expected in sweeps.errors
    assert not list(sweeps.output.iterdir())


def test_a_study_is_of_one_search(sweeps):
    assert sweeps(*SEARCH, LR, "hydra.sweeper.trials=1") == 0
    assert sweeps(*SEARCH, "optimizer.lr=0.1,0.2", "hydra.sweeper.trials=2") == 2
    assert "made with another space" in sweeps.errors
    assert "sweep.redo=all" in sweeps.errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", optuna.distributions.CategoricalDistribution(["a", "b"])),
        ("[1,2],[3]", optuna.distributions.CategoricalDistribution(["[1,2]", "[3]"])),
        ("range(1,10,3)", optuna.distributions.IntDistribution(1, 7, step=3)),
        ("int(interval(1,8))", optuna.distributions.IntDistribution(1, 8)),
        ("interval(1,8)", optuna.distributions.FloatDistribution(1.0, 8.0)),
        ("tag(log,interval(1e-3,1))", optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)),
    ],
)
def test_what_a_key_is_drawn_from(text, expected):
    (override,) = given({"key": text}, [])
    assert distribution(override) == expected
