"""CIFAR10-DVS: split rules, orientation, the copy in AEDAT 4, the drawn things."""

from collections import Counter

import numpy as np
import pytest
import torch

from snnexp.data.aedat import write_aedat2
from snnexp.data.base import DataError
from snnexp.data.event_frames import Recording
from snnexp.data.events import Events
from tasks.cifar10dvs import datamodule, layout, sample
from tests.tasks.event_tasks import build, contents, zipped
from tests.tasks.one_file import taken_up


def write_set(root, names, per_class):
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            where = np.array([k, 0, 127])
            events = Events(where, where // 2, np.array([0, 1, 2]), np.array([1, 0, 1]))
            write_aedat2(root / name / f"cifar10_{name}_{i}.aedat", events)


@pytest.fixture
def excerpt(tmp_path):
    write_set(tmp_path / "CIFAR10DVS", ("airplane", "cat", "truck"), 20)
    return tmp_path


def indices(recordings: list[Recording], role):
    return {int(r.path.stem.split("_")[-1]) for r in recordings if r.role == role}


def test_split_rules(excerpt):
    root = excerpt / "CIFAR10DVS"
    by_number = layout.recordings(root, ".aedat", "plif", ("cat",))
    assert indices(by_number, "test") == {18, 19}
    by_name = layout.recordings(root, ".aedat", "sew", ("cat",))
    # as text: 0, 1, 10, ..., 19, 2, ..., 9
    assert indices(by_name, "test") == {8, 9}
    for listed in (by_number, by_name):
        assert not indices(listed, "train") & indices(listed, "test")
        assert len(listed) == 20


def test_full_classes_split_as_the_plif_code_does(tmp_path):
    (tmp_path / "dog").mkdir()
    for i in range(1000):
        (tmp_path / "dog" / f"cifar10_dog_{i}.aedat").touch()
    listed = layout.recordings(tmp_path, ".aedat", "plif", ("dog",))
    assert indices(listed, "test") == set(range(900, 1000))
    assert len(indices(layout.recordings(tmp_path, ".aedat", "sew", ("dog",)), "test")) == 100


def test_numbers_are_needed_for_the_plif_rule(tmp_path):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "rex.aedat").touch()
    with pytest.raises(DataError, match="names that end in a number"):
        layout.recordings(tmp_path, ".aedat", "plif", ("dog",))


@pytest.mark.parametrize(
    ("orientation", "place"),
    [("anti_transpose", lambda x, y: (127 - y, 127 - x)), ("flip_x", lambda x, y: (127 - x, y))],
)
def test_orientations_of_the_two_papers(excerpt, tmp_path, orientation, place):
    options = (f"frame_format.orientation={orientation}", "frame_format.downsample=1")
    task = build("cifar10dvs", tmp_path / "c", *options, data="real", data_dir=str(excerpt))
    task.setup()
    assert task.classes == ("airplane", "cat", "truck")
    item = next(
        task.datasets["test"][i] for i in range(6) if task.datasets["test"][i]["target"] == 2
    )
    frame = item["input"].sum(0)
    for x, y, p in ((2, 1, 1), (0, 0, 0), (127, 63, 1)):
        column, row = place(x, y)
        assert frame[p, row, column] == 1


def test_an_excerpt_says_so(excerpt, tmp_path):
    task = build("cifar10dvs", tmp_path / "c", data="real", data_dir=str(excerpt))
    task.setup()
    report = task.report()
    assert report.source == "CIFAR10-DVS, an excerpt: 60 of 10,000 recordings"
    assert report.excerpt == "60 of 10,000 recordings"
    assert report.notes["classes"] == "3 of 10"
    assert report.sizes == {"train": 48, "val": 6, "test": 6}


def test_the_wrong_source_is_an_error(excerpt, tmp_path):
    options = {"data": "real", "data_dir": str(excerpt)}
    with pytest.raises(DataError, match=r"holds no \.aedat4 files; see task\.source"):
        build("cifar10dvs", tmp_path / "c", "source=aedat4", **options).prepare_data()


def test_missing_data_are_fetched(excerpt, tmp_path, monkeypatch):
    there = excerpt / "CIFAR10DVS"
    archives = {k: zipped(there / k, tmp_path / f"{k}.zip", k) for k in ("airplane", "cat")}
    monkeypatch.setattr(datamodule, "ARCHIVES", archives)
    options = {"data": "real", "data_dir": str(tmp_path / "here")}
    task = build("cifar10dvs", tmp_path / "c", **options)
    task.setup()
    assert task.classes == ("airplane", "cat")
    assert sum(task.sizes().values()) == 40


def test_all_ten_archives_are_known():
    assert tuple(datamodule.ARCHIVES) == layout.CLASSES
    assert len({remote.checksum for remote in datamodule.ARCHIVES.values()}) == 10


def test_sample_runs_through_the_loader(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "PER_CLASS", 10)
    monkeypatch.setattr(sample, "LOOP_US", 60_000)
    task = build("cifar10dvs", tmp_path / "a")
    task.setup()
    assert task.sizes() == {"train": 40, "val": 5, "test": 5}
    assert task.spec.step_shape == (2, 32, 32)
    again = build("cifar10dvs", tmp_path / "b").locate()
    assert contents(again) == contents(task.locate())


def test_drawn_things_stand_upright(tmp_path, monkeypatch):
    """Events turned as the yaml says lie where the film changed, and not where its mirror did."""
    monkeypatch.setattr(sample, "PER_CLASS", 1)
    task = build("cifar10dvs", tmp_path, "frame_format.downsample=1")
    root = task.locate()
    k = list(sample.THINGS).index("ship")
    rng = np.random.default_rng([sample.SEED, k, 0])
    picture = sample._picture(sample.THINGS["ship"](rng), rng)
    corner, at = np.arange(5), np.linspace(0, 4, 41)
    dx, dy = np.interp(at, corner, [0, 10, 0, -10, 0]), np.interp(at, corner, [-10, 0, 10, 0, -10])
    film = sample.pan(picture, dx, dy, *task.sensor)
    changed = np.abs(np.diff(film, axis=0)).sum(0)
    recording = Recording(root / "ship" / "cifar10_ship_0.aedat", "train", "", ())
    events = task.read(recording, Counter())
    whole = (np.array([0]), np.array([len(events)]))
    counts = task.frame_format.count(events, whole, task.sensor)[0].sum(0)

    def likeness(image):
        return np.corrcoef(image.ravel(), counts.ravel())[0, 1]

    turned = (changed[::-1], changed[:, ::-1], changed.T, changed[::-1, ::-1])
    assert likeness(changed) > 0.7
    assert likeness(changed) > 2 * max(likeness(image) for image in turned)


def test_a_recording_alone_is_that_of_the_data_set(excerpt, tmp_path):
    task = build("cifar10dvs", tmp_path / "c", data="real", data_dir=str(excerpt))
    task.setup()
    fresh = taken_up(task, build("cifar10dvs", tmp_path / "none"), tmp_path / "run")
    recordings = [r for r in task.recordings(task.locate()) if r.role == "test"]
    (one,) = fresh.read_input(recordings[3].path)
    assert torch.equal(one.input, task.datasets["test"][3]["input"])
    assert fresh.spec.classes == ("airplane", "cat", "truck")
