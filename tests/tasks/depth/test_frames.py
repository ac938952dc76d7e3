"""Windows, rectification and chunks against plain loops; memory; what is wrong with a file."""

import json
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from snnexp.data.base import DataError
from snnexp.data.events import Events, Sensor
from tasks.depth import layout
from tasks.depth.frames import Windows, write_flight
from tests.tasks.depth import flights

SENSOR = Sensor(flights.HEIGHT, flights.WIDTH)


def windows(by="stamps", rounding="truncate"):
    return Windows(by=by, window_us=50_000, polarity="on_off", rounding=rounding)


def binned(root, tmp_path, number=1, *, by="stamps", crop=0, rows=700, on_bad="error", **more):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    files = layout.flight(root, number)
    write_flight(folder, files, windows(by, **more), crop, on_bad, rows)
    return np.load(folder / "frames.npy"), json.loads((folder / "about.json").read_text())


def raw(root, number, side):
    with flights.edit(root, number, "data") as file:
        table = file[f"davis/{side}/events"][:]
    with flights.edit(root, number, "gt") as file:
        stamps = np.rint(file["davis/left/depth_image_rect_ts"][:] * 1e6).astype(np.int64)
    return (
        table[:, 0].astype(int),
        table[:, 1].astype(int),
        np.rint(table[:, 2] * 1e6),
        table[:, 3],
        stamps,
    )


def loop(x, y, t, p, starts, stops):
    out = np.zeros((len(starts), 2, flights.HEIGHT, flights.WIDTH), int)
    for xi, yi, ti, pi in zip(x, y, t, p, strict=True):
        for m in np.flatnonzero((starts <= ti) & (ti < stops)):
            out[m, 0 if pi > 0 else 1, yi, xi] += 1
    return out


@pytest.mark.parametrize("rows", [1, 97, 10_000])
def test_each_map_owns_the_events_before_its_own_stamp(tmp_path, rows):
    root = flights.write_all(tmp_path / "mvsec", maps=6)
    got, about = binned(root, tmp_path, rows=rows)
    for s, side in enumerate(("left", "right")):
        x, y, t, p, stamps = raw(root, 1, side)
        expected = loop(x, y, t, p, stamps - 50_000, stamps)
        np.testing.assert_array_equal(got[:, 2 * s : 2 * s + 2], expected)
    assert about["events"] == got.sum((1, 2, 3)).tolist()
    assert about["notes"] == {}


def test_drifting_windows_count_from_the_first_kept_event_of_each_side(tmp_path):
    root = flights.write_all(tmp_path / "mvsec", maps=12)
    crop = 4
    got, _ = binned(root, tmp_path, by="drift", crop=crop)
    assert got[:crop].sum() == 0
    for s, side in enumerate(("left", "right")):
        x, y, t, p, stamps = raw(root, 1, side)
        kept = t > stamps[crop] - 50_000
        starts = t[kept][0] + 50_000 * np.arange(12 - crop)
        expected = loop(x, y, t, p, starts, starts + 50_000)
        np.testing.assert_array_equal(got[crop:, 2 * s : 2 * s + 2], expected)


@pytest.mark.parametrize(
    ("rounding", "shift", "moved"),
    [("truncate", 0.9, 0), ("nearest", 0.9, 1), ("nearest", 0.4, 0), ("truncate", -0.4, -1)],
)
def test_rectification_truncates_or_rounds_and_drops_what_leaves(rounding, shift, moved):
    y, x = np.mgrid[: SENSOR.height, : SENSOR.width].reshape(2, -1)
    events = Events(x, y, np.arange(x.size), np.ones(x.size))
    row, column = np.mgrid[: SENSOR.height, : SENSOR.width].astype(float)
    seen = layout.rectify(events, (column + shift, row), rounding)
    target = x + moved
    inside = (x + shift >= 0) & (target < SENSOR.width) & (target >= 0)
    np.testing.assert_array_equal(seen.x, target[inside])
    np.testing.assert_array_equal(seen.y, y[inside])


def test_events_that_leave_the_view_are_counted(tmp_path):
    root = flights.write_all(tmp_path / "mvsec", maps=6, shift=2.0)
    got, about = binned(root, tmp_path)
    assert got[..., :2].sum() == 0
    dropped = about["notes"]["events outside the rectified view, dropped"]
    expected = 0
    for side in ("left", "right"):
        x, _, t, _, stamps = raw(root, 1, side)
        expected += ((t >= stamps[0] - 50_000) & (x + 2 >= flights.WIDTH)).sum()
    assert dropped == expected > 0


def test_memory_does_not_grow_with_the_recording(tmp_path):
    peaks = []
    for maps, events in ((10, 20_000), (80, 160_000)):
        root = tmp_path / f"mvsec{maps}"
        root.mkdir()
        flights.write_flight(root, 1, maps, events)
        flights.write_maps(root)
        files = layout.flight(root, 1)
        out = tmp_path / f"out{maps}"
        for attempt in range(2):  # the first one also compiles
            out_again = out / str(attempt)
            out_again.mkdir(parents=True)
            tracemalloc.start()
            write_flight(out_again, files, windows(), 0, "error", 2_000)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        peaks.append(peak)
    assert peaks[1] < 1.2 * peaks[0]
    # 160,000 rows of four doubles are 5 MB
    assert peaks[1] < 1_500_000


def test_first_row_bisects(tmp_path):
    root = flights.write_all(tmp_path / "mvsec", maps=6)
    with flights.edit(root, 1, "data") as file:
        table = file["davis/left/events"]
        t = np.rint(table[:, 2] * 1e6)
        for stamp in (t[0] - 5, t[0], t[100], t[100] + 1, t[-1], t[-1] + 1):
            assert layout.first_row(table, int(stamp)) == np.searchsorted(t, stamp)


@pytest.fixture
def root(tmp_path):
    return flights.write_all(tmp_path / "mvsec", maps=6)


def test_time_that_goes_back_within_a_block(root, tmp_path):
    with flights.edit(root, 1, "data") as file:
        file["davis/left/events"][2000, 2] -= 0.1
    with pytest.raises(DataError, match=r"flying1_data\.hdf5, davis/left/events, rows from .*1 of"):
        binned(root, tmp_path)
    _, about = binned(root, tmp_path, on_bad="drop")
    assert about["notes"]["events back in time, dropped"] == 1


def test_time_that_goes_back_between_blocks(root, tmp_path):
    with flights.edit(root, 1, "data") as file:
        table = file["davis/left/events"]
        stamps = layout.depth_stamps(root / "indoor_flying1_gt.hdf5")
        first = layout.first_row(table, int(stamps[0]) - 50_000)
        table[first + 500 : first + 503, 2] = table[first + 499, 2] - 0.0001
    with pytest.raises(DataError, match=r"events are earlier than those before them"):
        binned(root, tmp_path, rows=500)
    _, about = binned(root, tmp_path, on_bad="drop", rows=500)
    assert about["notes"]["events back in time, dropped"] == 3


def test_events_off_the_sensor(root, tmp_path):
    with flights.edit(root, 1, "data") as file:
        file["davis/right/events"][2000:2004, 0] = flights.WIDTH
    with pytest.raises(DataError, match=r"4 are off the 8 x 6 sensor"):
        binned(root, tmp_path)
    _, about = binned(root, tmp_path, on_bad="drop")
    assert about["notes"]["events off the sensor, dropped"] == 4


@pytest.mark.parametrize(
    ("part", "key"),
    [("data", "davis/right/events"), ("gt", "davis/left/depth_image_rect_ts"),
     ("gt", "davis/right/depth_image_rect")],
)  # fmt: skip
def test_a_missing_key_is_named_with_what_is_there(root, tmp_path, part, key):
    with flights.edit(root, 1, part) as file:
        del file[key]
    with pytest.raises(DataError, match=rf"{part}\.hdf5 has no {key}; it has davis/left/"):
        binned(root, tmp_path)


def test_a_map_of_another_size(root, tmp_path):
    flights.write_maps(root, height=5)
    with pytest.raises(DataError, match=r"left_x_map\.txt has 5 x 8 values, .* have 6 x 8 pixels"):
        binned(root, tmp_path)


def test_a_map_that_is_no_table(root, tmp_path):
    (root / "indoor_flying_left_y_map.txt").write_text("1 2\n3\n")
    with pytest.raises(DataError, match=r"left_y_map\.txt is no table of numbers"):
        binned(root, tmp_path)


def test_stamps_that_do_not_increase(root, tmp_path):
    with flights.edit(root, 1, "gt") as file:
        file["davis/left/depth_image_rect_ts"][3] = flights.START
    with pytest.raises(DataError, match="they must increase"):
        binned(root, tmp_path)


def test_a_damaged_file(root, tmp_path):
    (root / "indoor_flying1_data.hdf5").write_bytes(b"no hdf5")
    with pytest.raises(DataError, match=r"flying1_data\.hdf5 is no sound HDF5 file"):
        binned(root, tmp_path)


@pytest.mark.parametrize("name", ["indoor_flying2_gt.hdf5", "indoor_flying_right_y_map.txt"])
def test_a_missing_file(root, name):
    (root / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing"):
        layout.flight(root, 2)


def test_wrong_shapes(root, tmp_path):
    with flights.edit(root, 1, "data") as file:
        del file["davis/left/events"]
        file["davis/left/events"] = np.zeros((10, 3))
    with pytest.raises(DataError, match=r"events has shape \(10, 3\); expected \[N, 4\]"):
        binned(root, tmp_path)


def test_depth_that_is_no_depth_becomes_unknown(root, tmp_path):
    with flights.edit(root, 1, "gt") as file:
        file["davis/left/depth_image_rect"][2, 3, :3] = [0.0, -1.0, np.inf]
    _, about = binned(root, tmp_path)
    depth = np.load(tmp_path / "out" / "left_depth.npy")
    assert np.isnan(depth[2, 3, :3]).all()
    assert about["known"] == [40, 40, 37, 40, 40, 40]


def test_counts_beyond_the_cache_are_refused(root, tmp_path, monkeypatch):
    n = 40_000
    with flights.edit(root, 1, "data") as file:
        del file["davis/left/events"]
        table = np.zeros((n, 4))
        table[:, 2] = flights.START + 0.11
        file["davis/left/events"] = table
    with pytest.raises(DataError, match="fired 40000 times in one window"):
        binned(root, tmp_path)


def test_focal_length_times_baseline(root):
    assert layout.focal_baseline(root) is None
    path = root / "camchain-imucam-indoor_flying.yaml"
    path.write_text("cam1:\n  projection_matrix:\n  - [199.6, 0, 177.4, -19.94]\n")
    assert layout.focal_baseline(root) == pytest.approx(19.94)
    path.write_text("cam1: {}\n")
    with pytest.raises(DataError, match=r"has no cam1\.projection_matrix"):
        layout.focal_baseline(root)


def test_blocks_are_no_larger_than_asked_and_hold_the_whole_span(root):
    files = layout.flight(root, 1)
    stamps = layout.depth_stamps(files.truth)
    start, stop = int(stamps[1]), int(stamps[-2])
    x, _, t, _, _ = raw(root, 1, "left")
    blocks = list(
        layout.iter_events(
            files, "left", SENSOR, start_us=start, stop_us=stop,
            rounding="truncate", on_bad="error", notes=Counter(), rows=300,
        )
    )  # fmt: skip
    assert max(len(block) for block in blocks) == 300
    seen = Events.concatenate(blocks)
    wanted = (t >= start) & (t < stop)
    # the last block may go beyond
    np.testing.assert_array_equal(seen.x[: wanted.sum()], x[wanted])
    assert seen.t[0] >= start
