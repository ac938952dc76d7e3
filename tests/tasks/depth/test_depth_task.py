"""Splits, inputs, augmentation and the simulated flights of the depth task."""

import numpy as np
import pytest
import torch

from snnexp.data.base import DataError, Part, Predictions
from tasks.depth import sample, splits
from tasks.depth.augment import Augment, reverse
from tasks.depth.scene import cast, random_hall, rotations
from tests.tasks.depth import flights
from tests.tasks.event_tasks import build, contents
from tests.tasks.one_file import taken_up

MAPS = {1: 2000, 2: 2000, 3: 2000}


@pytest.mark.parametrize(
    ("split", "train", "test"), [(1, 3110, 1060), (2, 2870, 1300), (3, 2640, 1542)]
)
def test_the_authors_ranges_have_the_authors_sizes(split, train, test):
    found = splits.spans(split, "authors", 1, MAPS)
    assert found[0].flight == split
    sizes = [s.stop - s.first for s in found]
    assert (sum(sizes[1:]), sizes[0]) == (train, test)


def test_two_windows_an_input_cost_one_target_a_flight():
    found = splits.spans(1, "authors", 2, MAPS)
    assert sum(s.stop - s.first for s in found[1:]) == 3108


@pytest.mark.parametrize(("split", "test"), [(1, 1061), (2, 1301), (3, 1543)])
def test_the_ranges_of_tulyakov(split, test):
    found = splits.spans(split, "tulyakov", 1, MAPS)
    assert found[0].stop - found[0].first == test


def test_a_recording_that_is_too_short():
    with pytest.raises(DataError, match=r"indoor_flying2_gt\.hdf5 has 100 depth maps; split 1"):
        splits.spans(1, "tulyakov", 1, {**MAPS, 2: 100})


def test_shuffled_validation_is_one_draw_of_its_size():
    chosen = splits.shuffled_validation(1061, 200)
    assert len(chosen) == 200
    assert chosen == splits.shuffled_validation(1061, 200)
    assert chosen < set(range(1061))
    with pytest.raises(DataError, match=r"val_frames=200 of the 200"):
        splits.shuffled_validation(200, 200)


@pytest.fixture
def root(tmp_path, monkeypatch):
    table = {1: {1: (5, 35), 2: (4, 40), 3: (6, 38)}}
    monkeypatch.setattr(splits, "TULYAKOV", table)
    monkeypatch.setattr(splits, "AUTHORS", table)
    flights.write_all(tmp_path / "MVSEC" / "indoor_flying")
    return tmp_path


def real(root, *overrides):
    task = build("depth", root / "c", *overrides, data="real", data_dir=str(root))
    task.setup()
    return task


def items(task):
    return {
        split: {(d.flights[k].folder, int(m)) for k, m in d.items}
        for split, d in task.datasets.items()
    }


def test_validation_from_the_training_flights(root):
    task = real(root, "val_share=0.25", "val_gap=3")
    # flights 2 and 3 have 36 and 32 targets: 9 and 8 validate, 3 between are not used
    assert task.report().sizes == {"train": 24 + 21, "val": 9 + 8, "test": 30}
    sets = items(task)
    assert not {f for f, _ in sets["test"]} & {f for f, _ in sets["train"] | sets["val"]}
    for folder in {f for f, _ in sets["train"]}:
        last = max(m for f, m in sets["train"] if f == folder)
        assert min(m for f, m in sets["val"] if f == folder) == last + 4


def test_validation_from_the_test_flight(root):
    task = real(root, "val_from=test", "val_frames=10", "ranges=authors")
    sets = items(task)
    assert len(sets["val"]) == 10
    assert len(sets["test"]) == 30 - 2 - 10
    assert not sets["val"] & sets["test"]
    assert {f for f, _ in sets["val"]} == {f for f, _ in sets["test"]}
    assert min(m for _, m in sets["val"] | sets["test"]) == 5 + 2


def test_inputs_are_the_windows_that_end_at_the_target(root):
    task = real(root, "steps=2", "summed=3")
    assert task.spec.step_shape == (4, flights.HEIGHT, flights.WIDTH)
    assert task.spec.n_steps == 2
    assert task.spec.dt == pytest.approx(0.15)
    data = task.datasets["test"]
    for i in (0, 7, len(data) - 1):
        k, m = data.items[i]
        counts = data.flights[k].frames.astype(int)
        item = data[i]
        assert torch.equal(item["input"][1], torch.tensor(counts[m - 2 : m + 1].sum(0)).float())
        assert torch.equal(item["input"][0], torch.tensor(counts[m - 5 : m - 2].sum(0)).float())
        assert item["target"][0, 3, 0] == m + 1
        assert torch.isnan(item["target"][0, 0]).all()


def test_one_camera_gives_the_left_channels(root):
    one, two = real(root, "cameras=1"), real(root)
    assert one.spec.step_shape == (2, flights.HEIGHT, flights.WIDTH)
    a, b = one.datasets["test"][3]["input"], two.datasets["test"][3]["input"]
    assert torch.equal(a, b[:, :2])


def test_drift_needs_the_authors_crop(root):
    with pytest.raises(Exception, match=r"windows\.by=drift starts at the crop"):
        real(root, "windows.by=drift")
    assert len(real(root, "windows.by=drift", "ranges=authors").datasets["test"]) == 28


def test_maps_without_depth_and_windows_without_events_are_skipped_and_counted(root):
    with flights.edit(root / "MVSEC" / "indoor_flying", 1, "gt") as file:
        file["davis/left/depth_image_rect"][10:13] = np.nan
        stamps = file["davis/left/depth_image_rect_ts"][:]
    with flights.edit(root / "MVSEC" / "indoor_flying", 1, "data") as file:
        for side in ("left", "right"):
            table = file[f"davis/{side}/events"][:]
            silent = (table[:, 2] >= stamps[20] - 0.051) & (table[:, 2] < stamps[21] + 0.001)
            del file[f"davis/{side}/events"]
            file[f"davis/{side}/events"] = table[~silent]
    task = real(root)
    assert task.notes["targets without known depth, skipped"] == 3
    assert task.notes["targets without events, skipped"] == 2
    assert task.report().sizes["test"] == 25
    assert task.report().notes["targets without events, skipped"] == 2


def test_nothing_left_is_an_error(root):
    with flights.edit(root / "MVSEC" / "indoor_flying", 1, "gt") as file:
        file["davis/left/depth_image_rect"][:] = np.nan
    with pytest.raises(DataError, match="no test targets are left in split 1"):
        real(root)


def test_flights_of_several_sizes_are_refused(root):
    with flights.edit(root / "MVSEC" / "indoor_flying", 3, "gt") as file:
        del file["davis/left/depth_image_rect"]
        file["davis/left/depth_image_rect"] = np.ones((40, 5, 8))
    with pytest.raises(DataError, match="several sizes"):
        real(root)


def test_missing_data_says_what_to_fetch(tmp_path):
    task = build("depth", tmp_path, data="real", data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"(?s)no indoor_flying1_data\.hdf5 in .*mvsec, CC BY-SA"):
        task.prepare_data()


def augment(**options):
    base = {"hflip": 0.0, "time_mirror": 0.0, "event_drop": 0.0, "event_drop_max": 0.5}
    return Augment(**(base | {"faults": False} | options))


def with_augment(root, augmentation, *overrides):
    task = real(root, *overrides)
    data = task.datasets["train"]
    data.augment = augmentation
    return data, real(root, *overrides).datasets["train"]


def test_a_mended_flip_swaps_the_cameras_and_takes_the_right_depth(root):
    data, plain = with_augment(root, augment(hflip=1.0))
    got, before = data[4], plain[4]
    mirrored = before["input"].flip(-1)
    assert torch.equal(got["input"][:, :2], mirrored[:, 2:])
    assert torch.equal(got["input"][:, 2:], mirrored[:, :2])
    assert got["target"][0, 3, -1] == before["target"][0, 3, 0] - 0.5


def test_the_authors_flip_keeps_the_cameras_and_the_left_depth(root):
    data, plain = with_augment(root, augment(hflip=1.0, faults=True))
    got, before = data[4], plain[4]
    assert torch.equal(got["input"], before["input"].flip(-1))
    assert torch.equal(got["target"].nan_to_num(), before["target"].flip(-1).nan_to_num())


def test_one_camera_flips_without_faults(root):
    data, plain = with_augment(root, augment(hflip=1.0), "cameras=1")
    assert torch.equal(data[4]["input"], plain[4]["input"].flip(-1))
    assert data[4]["target"][0, 3, -1] == plain[4]["target"][0, 3, 0]


def test_time_mirror_swaps_polarity_and_ends_where_the_film_began(root):
    data, plain = with_augment(root, augment(time_mirror=1.0), "steps=2")
    got, before = data[4], plain[4]
    assert torch.equal(got["input"][0], before["input"][1][[1, 0, 3, 2]])
    assert got["target"][0, 3, 0] == before["target"][0, 3, 0] - 2


def test_reverse_twice_is_nothing():
    views = torch.rand(3, 4, 4, 5, 6)
    assert torch.equal(reverse(reverse(views)), views)
    assert not torch.equal(reverse(views), views)


def test_event_drop_thins(root):
    torch.manual_seed(0)
    views = torch.full((200, 1, 4, 6, 8), 10.0)
    thinned = augment(event_drop=1.0, event_drop_max=0.5).drop(views)
    assert torch.all(thinned <= views)
    assert float(thinned.mean()) == pytest.approx(7.5, abs=0.3)
    assert torch.equal(thinned, thinned.round())
    share = thinned.mean((1, 2, 3, 4)) / 10
    assert share.min() < 0.55
    assert share.max() > 0.95


def test_the_authors_event_drop_makes_the_right_view_from_the_left():
    views = torch.arange(2 * 4 * 30, dtype=torch.float32).reshape(2, 1, 4, 5, 6)
    thinned = augment(event_drop=1.0, event_drop_max=0.5, faults=True).drop(views)
    assert torch.equal(thinned[:, :, 2:], thinned[:, :, :2])
    kept = augment(event_drop=1.0, event_drop_max=0.0).drop(views)
    assert torch.equal(kept, views)


def test_training_alone_is_augmented(root):
    changes = "{_target_: tasks.depth.augment.Augment, hflip: 1.0, time_mirror: 0.0, "
    changes += "event_drop: 0.0, event_drop_max: 0.0, faults: false}"
    task = real(root, f"augment={changes}")
    plain = real(root)
    for split, same in (("train", False), ("val", True), ("test", True)):
        one, two = task.datasets[split][2], plain.datasets[split][2]
        assert torch.equal(one["input"], two["input"]) == same


def test_baselines_of_a_depth_that_is_known(root):
    task = real(root, "val_share=0.1", "val_gap=0")
    result = task.baselines()
    # map m is m + 1 metres deep everywhere: the mean of training is off by |m - mean of m|
    train = np.array([m for _, m in task.datasets["train"].items])
    test = np.array([m for _, m in task.datasets["test"].items])
    expected = 100 * np.abs(test - train.mean()).mean()
    assert result["mean_depth_cm"] == pytest.approx(expected, rel=1e-4)
    assert result["linear_cm"] > 0


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(sample, "SECONDS", 2)
    monkeypatch.setattr(sample, "FILM_HZ", 50)


def test_sample_runs_through_the_loader(tmp_path, small):
    task = build("depth", tmp_path, "val_gap=2")
    task.setup()
    assert task.spec.step_shape == (4, *sample.SENSOR)
    sizes = task.report().sizes
    assert sizes["test"] == 39 - sample.BLIND_MAPS
    assert task.notes["targets without known depth, skipped"] == 3 * sample.BLIND_MAPS
    batch = next(iter(task.train_dataloader()))
    known = torch.isfinite(batch["target"])
    assert 0.4 < known.float().mean() < 0.95
    assert 0.5 < float(batch["target"][known].min()) < float(batch["target"][known].max()) < 6.5
    predictions = [next(iter(task.loader("test")))]
    maps = Predictions(*(predictions[0][k] for k in ("target", "target", "index")))
    scores = maps.target.nan_to_num(3.0)
    metrics = task.extra_metrics("test", Predictions(scores, maps.target, maps.index))
    assert metrics == {"1pa": 1.0, "1pa_x7": 1.0}
    drawn = task.figures("test", Predictions(scores, maps.target, maps.index), tmp_path)
    assert [p.suffix for p in drawn] == [".png", ".gif"]
    assert all(p.stat().st_size > 3_000 for p in drawn)


def test_sample_has_the_same_bytes_each_time(tmp_path, small):
    one, two = (build("depth", tmp_path / k).locate() for k in "ab")
    assert contents(one) == contents(two)


def test_the_two_views_agree_with_the_depth():
    """A point at x in the left view lies at x - F/depth in the right one (same row)."""
    hall = random_hall(np.random.default_rng(0), 5.0)
    x, y = np.meshgrid(np.arange(sample.SENSOR.width), np.arange(sample.SENSOR.height))
    rays = sample._rays(x, y)
    turn = rotations(np.array([0.05]), np.array([0.02]))
    left = np.array([[2.0, 0.1, 0.0]])
    light, depth = cast(hall.boxes, hall.tiles, left, turn, rays, 7.0)
    right = left + sample.BASELINE * turn[:, :, 0]
    shift = sample.FOCAL * sample.BASELINE / depth[0]
    there = sample._rays(x - shift, y)
    seen, far = cast(hall.boxes, hall.tiles, right, turn, there, 7.0)
    same = np.abs(far[0] - depth[0]) < 0.01  # not hidden from the right camera
    assert same.mean() > 0.75
    np.testing.assert_allclose(seen[0][same], light[0][same], atol=1e-3)


def test_depth_is_along_the_optical_axis():
    hall = random_hall(np.random.default_rng(1), 5.0)
    hall.boxes[:] = 0
    hall.boxes[0] = (-50, -50, 3.0, 50, 50, 4.0)
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    still = rotations(np.zeros(1), np.zeros(1))
    _, depth = cast(hall.boxes, hall.tiles, np.zeros((1, 3)), still, sample._rays(x, y), 60.0)
    np.testing.assert_allclose(depth, 3.0, rtol=1e-6)


@pytest.mark.parametrize("overrides", [(), ("cameras=1",), ("steps=3", "summed=2")])
def test_a_flight_alone_gives_the_inputs_of_the_data_set(root, overrides):
    task = real(root, *overrides)
    fresh = taken_up(task, build("depth", root / "none", *overrides), root / "run")
    folder = root / "MVSEC" / "indoor_flying"
    found = fresh.read_input(folder / "indoor_flying1_data.hdf5")
    test = task.datasets["test"]
    reach = task.steps * task.summed
    assert len(found) == 40 - reach + 1
    for i in (0, len(test) - 1):
        one = found[int(test.items[i][1]) - reach + 1]
        assert torch.equal(one.input, test[i]["input"])
        assert torch.equal(one.truth.isnan(), test[i]["target"].isnan())
        assert torch.equal(one.truth.nan_to_num(), test[i]["target"].nan_to_num())
    (one,) = fresh.read_input(folder / "indoor_flying1_data.hdf5", Part(index=4))
    assert torch.equal(one.input, found[4].input)
    some = fresh.read_input(folder / "indoor_flying1_data.hdf5", Part(start=1.0, stop=1.3))
    assert 4 <= len(some) <= 8


def test_a_flight_without_depth_maps_is_cut_into_windows(root, monkeypatch):
    task = real(root)
    fresh = taken_up(task, build("depth", root / "none"), root / "run")
    path = root / "MVSEC" / "indoor_flying" / "indoor_flying1_data.hdf5"
    (path.with_name("indoor_flying1_gt.hdf5")).unlink()
    found = fresh.read_input(path)
    assert len(found) >= 40
    assert all(one.truth is None for one in found)
    # about two hundred of 8,000 events lie in what is left over at the end, or leave the view
    assert sum(one.input.sum() for one in found) > 7000
    from tasks.depth import datamodule

    monkeypatch.setattr(datamodule, "MOST", 5)
    with pytest.raises(DataError, match=r"gives \d+ inputs; choose up to 5"):
        fresh.read_input(path)
    with pytest.raises(DataError, match=r"expected the file of events"):
        fresh.read_input(path.rename(path.with_name("flight.hdf5")))
