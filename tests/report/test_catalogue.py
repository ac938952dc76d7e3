from pathlib import Path

import pytest
import yaml

from snnexp.config.compose import CONFIG_DIR, compose_config, options
from snnexp.report.catalogue import data_needs, experiments, listing, status
from snnexp.report.collect import rows_of
from snnexp.report.record import RecordError
from tests.report.conftest import make_result

ROOT = Path(__file__).parents[2]
REAL = {"variant": "real", "source": "v0.01", "sizes": {}}
NAME = "pellegrini2021_speech"


@pytest.fixture(scope="module")
def known():
    return {e.name: e for e in experiments(CONFIG_DIR / "experiment", ROOT / "tasks")}


def test_every_experiment_and_the_data_of_every_task_are_there(known):
    assert sorted(known) == options("experiment")
    assert sorted(data_needs(ROOT / "tasks")) == options("task")


@pytest.mark.parametrize(
    "name",
    [
        "pellegrini2021_speech",
        "rancon2022_stereospike_v3_split1_strict",
        "fang2021_sew101_imagenet_strict",
        "fang2021_plif_nmnist_strict",
        "kheradpisheh2020_s4nn_caltech_strict",
        "bonn_seizure",
    ],
)
def test_task_and_paper_are_those_that_hydra_composes(known, name):
    cfg = compose_config([f"experiment={name}"])
    paper = known[name].paper
    assert (paper.model_dump() if paper else None) == cfg.paper
    task = compose_config([f"task={known[name].task}"]).task
    assert task["_target_"] == cfg.task["_target_"]


def test_a_strict_protocol_follows_its_authors(known):
    names = [name for name in known if name.startswith("fang2021_plif_mnist")]
    assert names[:2] == ["fang2021_plif_mnist", "fang2021_plif_mnist_strict"]


def run(**changes):
    return make_result(**({"name": NAME, "experiment": NAME} | changes))


def rows(*results):
    return [row for result in results for row in rows_of(result)]


def test_the_nearest_to_the_real_data_counts(known):
    experiment = known[NAME]
    sample, excerpt = run(id="s"), run(data=REAL | {"excerpt": "two words"}, id="e")
    command = ["python", "-m", "snnexp", "trainer.max_epochs=1"]
    other = run(data=REAL, command=command, config={"seed": 0, "trainer": {"max_epochs": 1}})
    real = [run(data=REAL, seed=seed, wall_s=3600.0 + 7200 * seed) for seed in (0, 1)]
    assert status(experiment, []).figure == "not run here"
    assert status(experiment, rows(sample)).figure == "93.0 % (n = 1) on sample data only"
    told = status(experiment, rows(sample, excerpt))
    assert (told.kind, told.time) == ("excerpt", "unknown")
    assert told.figure == "93.0 % (n = 1) on excerpt, two words only"
    assert status(experiment, rows(other)).figure.endswith("with trainer.max_epochs=1")
    told = status(experiment, rows(sample, excerpt, other, *real))
    assert (told.kind, told.figure) == ("real", "93.0 ± 0.0 % (n = 2)")
    assert (told.time, told.machine) == ("2 h 0 min", "Some CPU, 2 threads")


def test_a_failed_run_is_no_measurement(known):
    assert status(known[NAME], rows(run(status="failed", error="x"))).kind == "none"


def test_groups_are_papers(known):
    groups = listing(list(known.values()), [])
    assert len(groups["Deep residual learning in spiking neural networks"]) > 10
    assert sum(map(len, groups.values())) == len(known)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"defaults": []}, "no `override /task`"),
        ({"defaults": [{"override /task": "smell"}]}, "task smell has no entry"),
        ({"defaults": [{"override /task": "a"}], "paper": {"key": "x"}}, "paper block: title"),
        ({"defaults": ["parent"]}, "parent.yaml: cannot be read"),
        ([1], "expected keys and values"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, content, message):
    (tmp_path / "t").mkdir()
    need = {"name": "n", "size": "1 GB", "source": "s", "fetched": True}
    (tmp_path / "t" / "data.yaml").write_text(yaml.safe_dump({"a": need}))
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RecordError, match=message):
        experiments(tmp_path, tmp_path)
    with pytest.raises(RecordError, match="from the repository's root"):
        experiments(tmp_path / "nowhere", tmp_path)
    (tmp_path / "t" / "data.yaml").write_text("a: {name: n}")
    with pytest.raises(RecordError, match=r"(?s)data\.yaml, a: .*size"):
        data_needs(tmp_path)
