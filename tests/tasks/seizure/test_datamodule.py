import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from snnexp.data.base import DataError, Part, Predictions, TaskSpec
from snnexp.report.units import baseline_figure
from tasks.seizure import bonn
from tasks.seizure.sample import write_mat
from tests.tasks.one_file import taken_up
from tests.tasks.seizure.conftest import (
    clip_source,
    montage,
    recording_source,
    segment_source,
    spectrogram,
)

CONFIGS = Path(__file__).parents[3] / "configs"
SOURCES = {
    "clips": (clip_source, "seizures"),
    "recordings": (recording_source, "seizures"),
    "segments": (segment_source, "kfold"),
}


def ready(make, source, **changed):
    task = make(source, **changed)
    task.prepare_data()
    task.setup()
    return task


def oracle(task, split="test", noise=0.0) -> Predictions:
    target = torch.from_numpy(task.table.label[task.split[split]])
    scores = 6.0 * torch.nn.functional.one_hot(target, len(task.spec.classes)).float()
    scores += noise * torch.randn(scores.shape, generator=torch.Generator().manual_seed(0))
    return Predictions(scores, target, torch.arange(len(target)))


@pytest.mark.parametrize("kind", SOURCES)
def test_batches_follow_the_spec_on_both_axes(make, kind):
    source, protocol = SOURCES[kind]
    by_time = ready(make, source(), protocol=protocol)
    by_frequency = ready(make, source(), protocol=protocol, loop="frequency")
    a, b = by_time.spec, by_frequency.spec
    assert a.n_steps == b.step_shape[1]
    assert b.n_steps == a.step_shape[1] == 17
    assert a.dt == pytest.approx(16 / by_time.store.rate)
    assert b.dt is None
    for split in ("train", "val", "test"):
        x, y = (next(iter(t.loader(split)))["input"] for t in (by_time, by_frequency))
        assert x.shape[1:] == (a.n_steps, *a.step_shape)
        assert y.shape[1:] == (b.n_steps, *b.step_shape)
        assert torch.equal(x.permute(0, 3, 2, 1), y)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_report_counts_every_window(make, kind):
    source, protocol = SOURCES[kind]
    task = ready(make, source(), protocol=protocol)
    report = task.report()
    assert report.variant == "sample"
    assert report.source.startswith("simulated")
    assert sum(report.sizes.values()) == len(task.table)
    for split, size in report.sizes.items():
        classes = task.spec.classes
        assert sum(report.notes[f"{split}: {name}"] for name in classes) == size
    assert report.notes["seizures, recordings or segments in more than one split"] == 0


@pytest.mark.parametrize(
    ("kind", "protocol", "fold", "folds"),
    [
        ("clips", "seizures", None, None),
        ("clips", "leave_one_seizure_out", 4, 9),
        ("recordings", "leave_one_seizure_out", 2, 8),
        ("clips", "leave_one_patient_out", 1, 3),
        ("segments", "kfold", 2, 4),
    ],
)
def test_the_report_names_the_fold_where_there_are_folds(make, kind, protocol, fold, folds):
    task = ready(make, SOURCES[kind][0](), protocol=protocol, fold=fold or 0, n_folds=4)
    report = task.report()
    assert (report.fold, report.folds) == (fold, folds)
    assert ("fold" in report.notes) == (folds is not None)
    if folds is not None:
        assert report.notes["fold"] == f"{fold} of 0-{folds - 1}, {protocol}"


@pytest.mark.parametrize("kind", SOURCES)
def test_metrics_and_figures_of_a_perfect_detector(make, kind, tmp_path):
    source, protocol = SOURCES[kind]
    task = ready(make, source(), protocol=protocol)
    found = task.extra_metrics("test", oracle(task))
    assert all(found[k] == 1.0 for k in ("sensitivity", "specificity", "precision", "auc"))
    if kind == "recordings":
        assert found["event_sensitivity"] == 1.0
        assert found["false_alarms_per_hour"] == 0.0
        assert -4 <= found["latency_mean"] <= 8
        assert found["hours"] == pytest.approx(2 * 120 / 3600)
        assert {"linear_event_sensitivity", "linear_false_alarms_per_hour"} <= set(found)
    if kind == "segments":
        assert found["segment_acc"] == 1.0
    paths = task.figures("test", oracle(task), tmp_path)
    assert paths
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)


@pytest.mark.parametrize("kind", SOURCES)
def test_baselines_are_no_perfect_detectors(make, kind):
    source, protocol = SOURCES[kind]
    found = ready(make, source(), protocol=protocol).baselines()
    assert {"chance", "line_length", "linear", "linear_balanced_acc", "linear_auc"} == set(found)
    assert all(0 <= v <= 1 for v in found.values())
    if kind != "segments":
        assert found["linear_auc"] < 1


def test_predictions_in_any_order_are_looked_up_by_index(make):
    task = ready(make, recording_source())
    found = oracle(task, noise=3.0)
    # an uneven split over processes may repeat and reorder items; the mean of a metric may not move
    order = torch.randperm(len(found.index), generator=torch.Generator().manual_seed(1))
    shuffled = Predictions(found.scores[order], found.target[order], found.index[order])
    assert task.extra_metrics("test", found) == pytest.approx(task.extra_metrics("test", shuffled))


def test_normalisation_sees_training_rows_only(make):
    task = ready(make, clip_source(), cut_at=1e9)
    raw = ready(make, clip_source(), normalise="none")
    x = torch.cat([b["input"] for b in task.loader("train")])
    assert x.mean((0, 1)).abs().max() < 1e-3
    assert (x.std((0, 1), correction=0) - 1).abs().max() < 1e-3
    y = torch.cat([b["input"] for b in raw.loader("train")])
    test = next(iter(raw.test_dataloader()))["input"]
    want = (test - y.mean((0, 1))) / y.std((0, 1), correction=0)
    assert torch.allclose(next(iter(task.test_dataloader()))["input"], want, atol=1e-3)
    state = task.state()
    assert state["mean"].shape == state["std"].shape == (4, 17, 1)
    assert (
        ready(make, clip_source(), cut_at=0.5).loader("test").dataset[0]["input"].abs().max() <= 0.5
    )


def test_gain_jitter_touches_training_only(make):
    plain, jittered = (ready(make, clip_source(), gain_jitter=g) for g in (0.0, 0.5))
    a, b = (t.datasets["train"].__getitems__([0, 1, 2])["input"] for t in (plain, jittered))
    shift = b - a
    assert torch.allclose(shift, shift[:, :1, :, :1].expand_as(shift), atol=1e-5)
    assert shift.std() > 0.1
    for split in ("val", "test"):
        x, y = (t.datasets[split].__getitems__([0, 1])["input"] for t in (plain, jittered))
        assert torch.equal(x, y)


def test_quiet_windows_are_thinned_in_training_only(make):
    whole = ready(make, recording_source())
    task = ready(make, recording_source(), quiet_per_seizure=1.0)
    counts = np.bincount(task.table.label[task.split["train"]])
    assert counts[0] == counts[1]
    assert np.array_equal(task.split["test"], whole.split["test"])


def test_annotations_of_the_edf_files_give_the_same_task(make):
    a = ready(make, recording_source())
    b = ready(make, recording_source(annotations="edf"))
    assert np.array_equal(a.table.label, b.table.label)


def test_five_sets(make):
    task = ready(make, segment_source(problem="five_sets"), protocol="kfold")
    assert task.spec.classes == ("A", "B", "C", "D", "E")
    assert np.bincount(task.table.label).tolist() == [8] * 5
    found = task.extra_metrics("test", oracle(task))
    assert found["e_auc"] == found["segment_acc"] == 1.0
    trivial = task.baselines()
    assert {*trivial} == {"chance", "linear", "linear_balanced_acc", "linear_e_auc"}
    figures = [f"test/{name}" for name in (*found, "acc", "balanced_acc")]
    assert baseline_figure("linear_e_auc", figures, "test/acc") == "test/e_auc"


# Real files: a copy of the sample taken as data=real, then spoilt.


@pytest.fixture
def real(clip_root: Path, tmp_path: Path) -> Path:
    shutil.copytree(clip_root, tmp_path / "SeizureDetection")
    return tmp_path / "SeizureDetection"


def test_real_files_in_a_read_only_folder(make, real):
    for path in [*real.rglob("*"), real]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    task = ready(make, clip_source(), data="real", data_dir=str(real.parent))
    assert task.report().variant == "real"
    for path in [real, *real.rglob("*")]:
        path.chmod(0o755)


def test_a_part_of_the_bonn_sets_says_so(make, segment_root, monkeypatch):
    words = {"protocol": "kfold", "data": "real", "data_dir": str(segment_root)}
    assert ready(make, segment_source(), **words).report().excerpt == "20 of 500 segments"
    monkeypatch.setattr(bonn, "SEGMENTS", 20)
    assert ready(make, segment_source(), **words).report().excerpt == ""
    assert ready(make, segment_source(), protocol="kfold").report().excerpt == ""


def test_no_files_say_what_to_fetch(make, tmp_path):
    for kind, said in [
        ("clips", "msel.mayo.edu"),
        ("recordings", "physionet"),
        ("segments", "upf"),
    ]:
        with pytest.raises(DataError, match=said):
            make(SOURCES[kind][0](), data="real", data_dir=str(tmp_path)).prepare_data()


def test_a_bad_clip_is_named_or_counted(make, real):
    bad = real / "Patient_1" / "Patient_1_ictal_segment_3.mat"
    write_mat(bad, {"other": 1})
    where = {"data": "real", "data_dir": str(real.parent)}
    with pytest.raises(DataError, match=r"Patient_1_ictal_segment_3.mat: no struct"):
        make(clip_source(), **where).prepare_data()
    task = ready(make, clip_source(), bad_files="skip", **where)
    assert task.report().notes["bad files skipped"] == 1


def test_samples_that_are_not_finite_are_counted(make, real):
    path = real / "Patient_1" / "Patient_1_interictal_segment_2.mat"
    data = np.ones((4, 128))
    data[1, 5] = np.nan
    write_mat(path, {"interictal_segment_2": {"data": data}})
    task = ready(make, clip_source(), data="real", data_dir=str(real.parent))
    assert task.report().notes["windows with samples that are not finite"] == 1


def test_channels_or_rates_that_differ_are_named_and_can_be_served(make, real):
    where = {"data": "real", "data_dir": str(real.parent)}
    for path in (real / "Patient_2").glob("*.mat"):
        kind = path.stem.removeprefix("Patient_2_")
        latency = {"latency": 0.0} if kind.startswith("ictal") else {}
        rng = np.random.default_rng(0)
        write_mat(path, {kind: {"data": rng.standard_normal((7, 200)), **latency}})
    with pytest.raises(DataError, match=r"has 7 channels, .* has 4: .*channel_quantiles"):
        make(clip_source(), **where).prepare_data()
    pooled = spectrogram(channel_quantiles=[0.1, 0.5, 0.9])
    with pytest.raises(DataError, match=r"at 200 Hz, .* at 128 Hz: .*task.source.rate"):
        make(clip_source(), features=pooled, **where).prepare_data()
    task = ready(
        make, clip_source(rate=100.0), features=pooled, protocol="leave_one_patient_out", **where
    )
    assert task.spec.step_shape[0] == 3


def test_ranges_run_without_latencies(make, real):
    for path in (real / "Patient_1").glob("*_ictal_*.mat"):
        kind = path.stem.removeprefix("Patient_1_")
        write_mat(path, {kind: {"data": np.random.default_rng(0).standard_normal((4, 128))}})
    where = {"data": "real", "data_dir": str(real.parent)}
    source = clip_source(patients=["Patient_1"])
    with pytest.raises(DataError, match="carry no latency"):
        ready(make, source, **where)
    ranges = {
        s: {"ictal": [1 + 5 * k, 5 + 5 * k], "interictal": [1 + 5 * k, 5 + 5 * k]}
        for k, s in enumerate(("train", "val", "test"))
    }
    task = ready(make, source, protocol="ranges", ranges=ranges, **where)
    report = task.report()
    assert report.sizes == {"train": 10, "val": 10, "test": 10}
    assert report.notes["seizures, recordings or segments in more than one split"] == 2


def test_montages_that_differ_are_named(make):
    task = make(recording_source(montage=montage(channels=["G1-G2", "FP1-F7"])))
    with pytest.raises(DataError, match=r"names 'FP1-F7'"):
        task.prepare_data()


@pytest.mark.parametrize("name", ["soltani2020_seizure", "soltani2020_seizure_strict"])
def test_the_experiments_net_has_the_papers_size(name):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("config", overrides=[f"experiment={name}"])
    if name.endswith("strict"):
        return
    # Patient_3: 55 channels, 155 frames, 33 bins (section 2.4 of the facts)
    spec = TaskSpec(
        name="seizure",
        kind="classification",
        step_shape=(55, 155),
        n_steps=33,
        dt=None,
        classes=("interictal", "ictal"),
    )
    model = instantiate(cfg.model, spec, _convert_="all")
    assert sum(p.numel() for p in model.parameters()) == 55_717
    assert model(torch.rand(33, 2, 55, 155)).prediction.shape == (2, 2)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("loop", ["time", "frequency"])
def test_a_file_alone_gives_the_windows_of_the_data_set(make, tmp_path, kind, loop):
    source, protocol = SOURCES[kind]
    task = ready(make, source(), protocol=protocol, loop=loop)
    fresh = taken_up(task, make(source(), data_dir="none", loop=loop), tmp_path)
    row = task.split["test"][0]
    name = str(task.table.source[row])
    (path,) = (p for p in task.root().rglob("*") if name in (p.name, p.stem) or _bonn(p) == name)
    found = fresh.read_input(path)
    rows = np.flatnonzero(task.table.source == name)
    assert len(found) == len(rows)
    x, _ = task._input(task.store.features[torch.from_numpy(rows)], torch.zeros(len(rows)))
    torch.testing.assert_close(torch.stack([one.input for one in found]), x)
    if kind == "recordings":
        assert found[1].name == "4-8 s"
        some = fresh.read_input(path, Part(start=8.0, stop=20.0))
        assert [one.name for one in some] == ["8-12 s", "12-16 s", "16-20 s"]
        assert torch.equal(some[0].input, found[2].input)
        with pytest.raises(DataError, match="no window between"):
            fresh.read_input(path, Part(start=1e4))


def _bonn(path):
    """The segment that a file of the Bonn sets holds: Z001.txt -> A001."""
    sets = {"Z": "A", "O": "B", "N": "C", "F": "D", "S": "E"}
    return sets.get(path.stem[:1], "") + path.stem[1:]


def test_files_that_do_not_fit_the_run_are_named(make, clip_root, tmp_path):
    task = taken_up(ready(make, clip_source()), make(clip_source()), tmp_path / "run")
    clip = next(clip_root.rglob("*.mat"))
    with pytest.raises(DataError, match=r"reads \.mat, not \.edf"):
        task.read_input(shutil.copy(clip, tmp_path / "a.edf"))
    path = tmp_path / "Patient_1_ictal_segment_1.mat"
    write_mat(path, {"data": np.zeros((5, 128)), "freq": 128.0})
    with pytest.raises(DataError, match="other channels"):
        task.read_input(path)
    write_mat(path, {"data": np.zeros((4, 256)), "freq": 256.0})
    with pytest.raises(DataError, match="256 Hz"):
        task.read_input(path)
    with pytest.raises(DataError, match="start and stop"):
        task.read_input(clip, Part(start=1.0))
