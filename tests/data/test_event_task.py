"""The shared event task on tiny recordings: splits, batches, skips, cache, baselines, pictures."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from snnexp.data import events as events_module
from snnexp.data.base import DataError, Predictions
from snnexp.data.event_frames import Cut, Recording
from snnexp.data.event_task import EventClassification
from snnexp.data.events import Binning, Events, FrameFormat, Sensor

SENSOR = Sensor(4, 6)


class Tiny(EventClassification):
    """Recordings are .npy files of x, y, t, p; class 0 fires on the left, 1 on the right."""

    task_name = "tiny"
    sensor = SENSOR
    readers = (events_module,)
    classes = ("left", "right")

    def __init__(self, folder: Path, **changes):
        options = {
            "data": "real",
            "data_dir": str(folder),
            "cache_dir": str(folder / "cache"),
            "batch_size": 5,
            "num_workers": 0,
            "binning": Binning(by="number", n_frames=4, remainder="last", window_us=None),
            "frame_format": FrameFormat(polarity="off_on", orientation="recorded", downsample=1),
            "on_bad": "error",
            "val_by": "group",
            "val_share": 0.25,
            "split_seed": 0,
            "temporal_delete": None,
        }
        super().__init__(**(options | changes))
        self.reads = 0

    def locate(self):
        return self.data_dir

    def recordings(self, root):
        found = []
        for path in sorted(root.glob("*.npy")):
            user, role = path.stem.split("_")
            cuts = (Cut(0, 0, 1000), Cut(1, 1000, 2000))
            found.append(Recording(path, role, user, cuts))
        return found

    def read(self, recording, notes: Counter[str]):
        self.reads += 1
        return Events(*np.load(recording.path))

    def key(self):
        return {}


def write(folder, name, seed, n=30):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 2000, n))
    x = rng.integers(0, 3, n) + 3 * (t >= 1000)
    np.save(folder / f"{name}.npy", np.stack([x, rng.integers(0, 4, n), t, rng.integers(0, 2, n)]))


@pytest.fixture
def folder(tmp_path):
    for user in range(8):
        write(tmp_path, f"u{user}_{'train' if user < 6 else 'test'}", user)
    return tmp_path


def test_splits_hold_users_apart(folder):
    task = Tiny(folder)
    task.setup()
    assert task.sizes() == {"train": 8, "test": 4, "val": 4}
    groups = {s: {task.store.group[i] for i in d.rows} for s, d in task.datasets.items()}
    assert groups["test"] == {"u6", "u7"}
    assert not groups["train"] & groups["val"]
    assert groups["train"] | groups["val"] == {f"u{k}" for k in range(6)}


def test_tail_takes_the_last_of_each_class(folder):
    task = Tiny(folder, val_by="tail", val_share=0.3)
    task.setup()
    # 6 of each class train; ceil(6 x 0.7) = 5 stay
    assert task.sizes() == {"train": 10, "test": 4, "val": 2}
    assert [task.store.group[i] for i in task.datasets["val"].rows] == ["u5", "u5"]


def test_no_validation(folder):
    task = Tiny(folder, val_by="none")
    task.setup()
    assert task.sizes() == {"train": 12, "test": 4, "val": 0}
    assert list(task.val_dataloader()) == []


def test_batches_hold_the_counts_of_each_cut(folder):
    task = Tiny(folder)
    task.setup()
    assert task.spec.step_shape == (2, 4, 6)
    assert (task.spec.n_steps, task.spec.dt) == (4, None)
    seen = 0
    for batch in task.test_dataloader():
        assert batch["input"].dtype == torch.float32
        assert batch["input"].shape[1:] == (4, 2, 4, 6)
        for x, label in zip(batch["input"], batch["target"], strict=True):
            side = x[..., :3] if label == 0 else x[..., 3:]
            assert x.sum() == side.sum() > 0
        seen += float(batch["input"].sum())
    assert seen == 60  # both test users, 30 events each


def test_windows_give_a_step_its_duration(folder):
    binning = Binning(by="window", n_frames=5, remainder="drop", window_us=200)
    task = Tiny(folder, binning=binning)
    task.setup()
    assert task.spec.dt == pytest.approx(2e-4)


def test_temporal_delete_keeps_sorted_frames_of_training_batches(folder):
    task = Tiny(folder, temporal_delete=3)
    task.setup()
    whole = Tiny(folder)
    whole.setup()
    torch.manual_seed(1)
    short, full = task.datasets["train"][0]["input"], whole.datasets["train"][0]["input"]
    assert short.shape[0] == 3
    places = [next(j for j in range(4) if torch.equal(s, full[j])) for s in short]
    assert places == sorted(places)
    assert task.datasets["test"][0]["input"].shape[0] == 4
    with pytest.raises(ValueError, match="temporal_delete"):
        Tiny(folder, temporal_delete=5)


def test_frames_are_made_once_and_again_when_something_changes(folder):
    first = Tiny(folder)
    first.prepare_data()
    assert first.reads == 8
    second = Tiny(folder)
    second.prepare_data()
    second.setup()
    assert second.reads == 0
    write(folder, "u0_train", 99, n=40)
    third = Tiny(folder)
    third.prepare_data()
    assert third.reads == 8


def test_a_pickled_dataset_carries_no_frames(folder):
    task = Tiny(folder)
    task.setup()
    before = task.datasets["train"][0]["input"]
    packed = pickle.dumps(task.datasets["train"])
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed)[0]["input"], before)


def empty_a_cut(folder):
    write(folder, "u0_train", 0)
    table = np.load(folder / "u0_train.npy")
    np.save(folder / "u0_train.npy", table[:, table[2] < 1000])


def test_a_sample_without_events(folder):
    empty_a_cut(folder)
    with pytest.raises(DataError, match=r"u0_train\.npy has no events for right.*on_bad=drop"):
        Tiny(folder).prepare_data()
    task = Tiny(folder, on_bad="drop")
    task.setup()
    assert task.store.notes["samples without events, skipped"] == 1
    assert sum(task.sizes().values()) == 15


def test_damaged_events(folder):
    table = np.load(folder / "u1_train.npy")
    table[0, 3], table[2, 7] = 6, -5
    np.save(folder / "u1_train.npy", table)
    with pytest.raises(DataError, match=r"u1_train\.npy: 1 of 30 events go backwards"):
        Tiny(folder).prepare_data()
    task = Tiny(folder, on_bad="drop")
    task.setup()
    assert task.store.notes["events back in time, dropped"] == 1
    assert task.store.notes["events off the sensor, dropped"] == 1


def test_counts_beyond_the_cache_are_refused(folder):
    n = 40_000
    zero = np.zeros(n, np.int64)
    np.save(folder / "u1_train.npy", np.stack([zero, zero, np.arange(n) // 40, zero + 1]))
    one = Binning(by="number", n_frames=1, remainder="last", window_us=None)
    with pytest.raises(DataError, match=r"fired 40000 times in one frame"):
        Tiny(folder, binning=one, on_bad="drop").prepare_data()


def test_frames_without_events_are_counted(folder):
    binning = Binning(by="window", n_frames=3, remainder="drop", window_us=5000)
    task = Tiny(folder, binning=binning)
    task.setup()
    assert task.store.notes["frames without events"] == 16 * 2


def test_no_test_samples_is_an_error(tmp_path):
    write(tmp_path, "u0_train", 0)
    with pytest.raises(DataError, match="no test samples"):
        Tiny(tmp_path, val_by="none").setup()


def test_all_groups_for_validation_is_an_error(tmp_path):
    for user, role in enumerate(("train", "test")):
        write(tmp_path, f"u{user}_{role}", user)
    with pytest.raises(DataError, match="leaves none to train on"):
        Tiny(tmp_path).setup()


def test_baselines(folder):
    task = Tiny(folder)
    task.setup()
    result = task.baselines()
    assert result["chance"] == 0.5
    assert result["linear"] == 1.0


def test_pictures(folder):
    task = Tiny(folder)
    task.setup()
    target = torch.tensor([0, 1, 0, 1])
    made = task.figures(
        "test", Predictions(torch.eye(2)[[0, 1, 1, 1]], target, torch.arange(4)), folder
    )
    assert made[0].stat().st_size > 5_000
