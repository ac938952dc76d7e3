"""DVS128 Gesture: labels, lists, both layouts, the drawn people."""

import numpy as np
import pytest
import torch

from snnexp.data.aedat import write_aedat31
from snnexp.data.base import DataError, Part
from snnexp.data.event_frames import Cut
from snnexp.data.events import Events
from tasks.gesture import arms, datamodule, sample
from tasks.gesture.layout import aedat_recordings, overlaps, read_labels
from tests.tasks.event_tasks import build, contents, zipped
from tests.tasks.one_file import taken_up

HEADER = "class,startTime_usec,endTime_usec\n"


def test_labels_become_cuts(tmp_path):
    path = tmp_path / "user01_lab_labels.csv"
    path.write_text(HEADER + "1,100,200\n11,200,350\n")
    assert read_labels(path, fix_user22=True) == (Cut(0, 100, 200), Cut(10, 200, 350))


def test_user22_led_is_mended_where_it_is_wrong_and_only_there(tmp_path):
    rows = HEADER + "9,98000000,110590564\n10,105000000,111000000\n"
    for stem in ("user22_led", "user21_led"):
        (tmp_path / f"{stem}_labels.csv").write_text(rows)
    wrong = tmp_path / "user22_led_labels.csv"
    assert read_labels(wrong, fix_user22=True)[0].stop_us == 104_000_000
    assert read_labels(wrong, fix_user22=False)[0].stop_us == 110_590_564
    assert read_labels(tmp_path / "user21_led_labels.csv", True)[0].stop_us == 110_590_564


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must be"),
        ("1,2,3\n", "first line must be"),
        (HEADER + "12,1,2\n", "line 2: class 12"),
        (HEADER + "0,1,2\n", "line 2: class 0"),
        (HEADER + "1,5,5\n", "line 2: class 1 from 5 to 5"),
        (HEADER + "1,2\n", "no three integers"),
    ],
)
def test_bad_labels(tmp_path, text, message):
    path = tmp_path / "user01_lab_labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(path, True)


def write_recording(folder, stem, rows):
    n = 4000
    rng = np.random.default_rng(len(stem))
    events = Events(
        *(rng.integers(0, 128, n) for _ in range(2)), np.sort(rng.integers(0, 1000, n)),
        rng.integers(0, 2, n),
    )  # fmt: skip
    write_aedat31(folder / f"{stem}.aedat", events, source="DVS128")
    lines = [f"{label},{start},{stop}" for label, start, stop in rows]
    (folder / f"{stem}_labels.csv").write_text(HEADER + "\n".join(lines) + "\n")
    return events


@pytest.fixture
def official(tmp_path):
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    rows = [(1, 0, 300), (2, 300, 600), (2, 650, 900)]
    events = {}
    for user in range(1, 5):
        events[user] = write_recording(folder, f"user{user:02d}_lab", rows)
    train = "\n".join(f"user{u:02d}_lab.aedat" for u in (1, 2, 3))
    (folder / "trials_to_train.txt").write_text(train + "\n\n")
    (folder / "trials_to_test.txt").write_text("user04_lab.aedat\n")
    return tmp_path, events


def test_every_label_row_is_a_sample(official, tmp_path):
    data_dir, events = official
    options = ("frame_format.downsample=1", "val_by=none")
    task = build("gesture", tmp_path / "c", *options, data="real", data_dir=str(data_dir))
    task.setup()
    assert task.sizes() == {"train": 9, "test": 3, "val": 0}
    sample_2 = task.datasets["test"][2]
    t = events[4].t
    assert sample_2["input"].sum() == ((t >= 650) & (t < 900)).sum()
    assert int(sample_2["target"]) == 1
    report = task.report()
    assert report.excerpt == "9 of 1,176 training and 3 of 288 test samples"
    assert report.source == f"DVS128 Gesture (aedat), {report.excerpt}"
    assert report.notes["label rows that overlap the one ahead"] == 0


def test_files_that_are_missing_are_named(official):
    folder = official[0] / "DvsGesture"
    (folder / "user02_lab_labels.csv").unlink()
    with pytest.raises(DataError, match=r"user02_lab_labels\.csv is missing"):
        aedat_recordings(folder, True)
    (folder / "user01_lab.aedat").unlink()
    with pytest.raises(DataError, match=r"user01_lab\.aedat is missing, but .*train\.txt lists"):
        aedat_recordings(folder, True)
    (folder / "trials_to_train.txt").unlink()
    with pytest.raises(DataError, match=r"trials_to_train\.txt is missing"):
        aedat_recordings(folder, True)


def test_overlapping_rows_are_counted(official):
    folder = official[0] / "DvsGesture"
    (folder / "user03_lab_labels.csv").write_text(HEADER + "1,0,301\n2,300,600\n3,600,700\n")
    assert overlaps(aedat_recordings(folder, True)) == 1


def test_a_truncated_packet_in_a_recording(official, tmp_path):
    path = official[0] / "DvsGesture" / "user03_lab.aedat"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"user03_lab\.aedat: a packet of .* is cut off"):
        build("gesture", tmp_path / "c", data="real", data_dir=str(official[0])).prepare_data()


def test_the_pre_cut_copy(tmp_path, monkeypatch):
    n = 200
    rng = np.random.default_rng(0)
    for part, user in (("ibmGestureTrain", "user01"), ("ibmGestureTrain", "user02"),
                       ("ibmGestureTest", "user24")):  # fmt: skip
        folder = tmp_path / "DVSGesture" / part / f"{user}_lab"
        folder.mkdir(parents=True)
        for label in (0, 10):
            columns = [rng.integers(0, 128, n), rng.integers(0, 128, n), rng.integers(0, 2, n)]
            table = np.stack([*columns, np.sort(rng.integers(0, 6000, n))], 1)
            np.save(folder / f"{label}.npy", table.astype(np.float64))
    there = tmp_path / "DVSGesture"
    archives = {k: zipped(there / k, tmp_path / f"{k}.zip", k) for k in datamodule.ARCHIVES}
    monkeypatch.setattr(datamodule, "ARCHIVES", archives)
    for data_dir in (tmp_path, tmp_path / "fetched"):
        options = ("source=tonic", "val_share=0.5")
        task = build("gesture", tmp_path / "c", *options, data="real", data_dir=str(data_dir))
        task.setup()
        assert task.sizes() == {"train": 2, "val": 2, "test": 2}
        assert task.datasets["test"][1]["target"] == 10
        assert task.datasets["test"][0]["input"].sum() == n


def test_missing_data_say_what_to_fetch(tmp_path):
    task = build("gesture", tmp_path, data="real", data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"(?s)no trials_to_train\.txt in .*8a5c71fb11e24e5"):
        task.prepare_data()


def test_a_broken_npy_is_named(tmp_path):
    folder = tmp_path / "ibmGestureTrain" / "user01_lab"
    folder.mkdir(parents=True)
    (tmp_path / "ibmGestureTest").mkdir()
    (folder / "3.npy").write_bytes(b"no numpy")
    task = build("gesture", tmp_path, "source=tonic", data="real", data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"3\.npy is no sound"):
        task.prepare_data()


def test_the_pre_cut_copy_has_no_sample(tmp_path):
    with pytest.raises(Exception, match=r"task\.source=tonic needs data=real"):
        build("gesture", tmp_path, "source=tonic")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(sample, "USERS", 4)
    monkeypatch.setattr(sample, "TEST_USERS", 1)
    monkeypatch.setattr(sample, "LIGHTS", sample.LIGHTS[:1])
    monkeypatch.setattr(sample, "GESTURE_US", 200_000)


def test_sample_runs_through_the_loader(tmp_path, small):
    task = build("gesture", tmp_path, "val_share=0.34")
    task.setup()
    assert task.sizes() == {"train": 24, "val": 12, "test": 12}
    assert set(task.store.label.tolist()) == set(range(11))
    groups = {s: {task.store.group[i] for i in d.rows} for s, d in task.datasets.items()}
    assert groups["test"] == {"user04"}
    assert not groups["train"] & groups["val"]


def test_sample_has_the_same_bytes_each_time(tmp_path, small):
    one, two = (build("gesture", tmp_path / k).locate() for k in "ab")
    assert contents(one) == contents(two)


@pytest.mark.parametrize("label", range(11))
def test_arms_keep_their_length_and_stay_in_view(label):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        person = arms.random_person(rng)
        move = arms.Move(np.linspace(0, 20, 300), 1.2, rng)
        scene = arms.capsules(person, label, move, np.zeros(300))
        for k in (2, 5):
            upper, fore = scene[:, k], scene[:, k + 1]
            np.testing.assert_allclose(
                np.hypot(*(upper[:, 2:4] - upper[:, :2]).T), person.upper_arm
            )
            np.testing.assert_allclose(np.hypot(*(fore[:, 2:4] - fore[:, :2]).T), person.forearm)
        hands = scene[:, (4, 7), :2]
        assert hands.min() > -5
        assert hands.max() < 133


def test_clockwise_turns_clockwise():
    rng = np.random.default_rng(0)
    person = arms.random_person(rng)
    phase = np.linspace(0, 2 * np.pi, 200)
    for label, side, sign in ((3, 4, 1), (4, 4, -1), (5, 7, 1), (6, 7, -1)):
        hand = arms.capsules(person, label, arms.Move(phase, 1.0, rng), 0 * phase)[:, side, :2]
        step = np.diff(hand - hand.mean(0), axis=0)
        arm = (hand - hand.mean(0))[:-1]
        # y points down, so that a positive cross product is a clockwise turn
        turn = arm[:, 0] * step[:, 1] - arm[:, 1] * step[:, 0]
        assert np.all(sign * turn > 0)


def test_a_recording_alone_gives_its_label_rows_or_a_stretch(official, tmp_path):
    data_dir, events = official
    options = ("frame_format.downsample=1", "val_by=none")
    task = build("gesture", tmp_path / "c", *options, data="real", data_dir=str(data_dir))
    task.setup()
    fresh = taken_up(task, build("gesture", tmp_path / "d", *options), tmp_path / "run")
    path = data_dir / "DvsGesture" / "user04_lab.aedat"
    found = fresh.read_input(path)
    assert [one.name[:20] for one in found] == [
        "0: hand_clapping by ",
        "1: right_hand_wave b",
        "2: right_hand_wave b",
    ]
    for i, one in enumerate(found):
        assert torch.equal(one.input, task.datasets["test"][i]["input"])
    t = events[4].t - events[4].t[0]
    (some,) = fresh.read_input(path, Part(start=0.0002, stop=0.0005))
    assert some.input.sum() == ((t >= 200) & (t < 500)).sum()
    with pytest.raises(DataError, match="no events"):
        fresh.read_input(path, Part(start=5.0))
    path.with_name("user04_lab_labels.csv").unlink()
    (whole,) = fresh.read_input(path)
    assert whole.input.sum() == len(t)
