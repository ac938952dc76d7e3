"""The binning rules against loops written from their statements, and against Tonic's ToFrame."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnexp.data.base import DataError
from snnexp.data.events import (
    Binning,
    Events,
    FrameFormat,
    Sensor,
    clean,
    ranges_by_stamps,
    stream_frames,
)

SENSOR = Sensor(6, 8)
PLAIN = FrameFormat(polarity="off_on", orientation="recorded", downsample=1)


def make(n, seed=0, sensor=SENSOR, duration=1000):
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, sensor.width, n).astype(np.int16),
        rng.integers(0, sensor.height, n).astype(np.int16),
        np.sort(rng.integers(0, duration, n)).astype(np.int64),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def frame_of_each_event(events, by, n_frames, remainder, window_us):
    """The stated rules, one event at a time; None where an event belongs to no frame."""
    n = len(events)
    for i in range(n):
        if by == "number":
            size = n // n_frames
            frame = i // size if size else n_frames
        else:
            d = window_us or (int(events.t[-1]) - int(events.t[0])) // n_frames
            frame = (int(events.t[i]) - int(events.t[0])) // d if d else n_frames
        if frame >= n_frames:
            frame = n_frames - 1 if remainder == "last" else None
        yield frame


def reference(events, sensor, **binning):
    frames = np.zeros((binning["n_frames"], 2, *sensor), np.int64)
    rows = zip(events.x, events.y, events.p, strict=True)
    for (x, y, p), frame in zip(rows, frame_of_each_event(events, **binning), strict=True):
        if frame is not None:
            frames[frame, p, y, x] += 1
    return frames


def binned(events, frame_format=PLAIN, sensor=SENSOR, **binning):
    return frame_format.count(events, Binning(**binning).ranges(events.t), sensor)


RULES = [
    {"by": by, "n_frames": m, "remainder": r, "window_us": 70 if by == "window" else None}
    for by, m, r in itertools.product(("number", "time", "window"), (1, 4, 7), ("last", "drop"))
]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r['by']}-{r['n_frames']}-{r['remainder']}")
@pytest.mark.parametrize("n", [0, 1, 3, 50, 999])
def test_rule_equals_its_statement(rule, n):
    events = make(n)
    np.testing.assert_array_equal(binned(events, **rule), reference(events, SENSOR, **rule))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(0, 5), st.sampled_from(["last", "drop"]))
def test_number_rule_keeps_all_or_drops_the_remainder(n, n_frames, seed, remainder):
    rule = {"by": "number", "n_frames": n_frames, "remainder": remainder, "window_us": None}
    frames = binned(make(n, seed), **rule)
    assert frames.sum() == (n if remainder == "last" else n - n % n_frames)
    sizes = frames.sum(axis=(1, 2, 3))
    assert len(set(sizes[:-1])) <= 1


@pytest.mark.parametrize(("rule", "option"), [("number", "n_event_bins"), ("time", "n_time_bins")])
def test_drop_equals_tonic(rule, option):
    transforms = pytest.importorskip("tonic.transforms")
    events = make(5003, seed=3)
    theirs = np.zeros(len(events), [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i2")])
    for name in "xytp":
        theirs[name] = getattr(events, name)
    to_frame = transforms.ToFrame(sensor_size=(SENSOR.width, SENSOR.height, 2), **{option: 16})
    ours = binned(events, by=rule, n_frames=16, remainder="drop", window_us=None)
    np.testing.assert_array_equal(ours, to_frame(theirs))


def test_stamps_own_the_time_before_them():
    events = make(500, seed=1)
    stamps = np.array([0, 100, 130, 999, 2000])
    frames = PLAIN.count(events, ranges_by_stamps(events.t, stamps, 50), SENSOR)
    for stamp, frame in zip(stamps, frames, strict=True):
        inside = [i for i, t in enumerate(events.t) if stamp - 50 <= t < stamp]
        assert frame.sum() == len(inside)
        for i in inside:
            assert frame[events.p[i], events.y[i], events.x[i]] > 0


@pytest.mark.parametrize(
    ("orientation", "place"),
    [
        ("recorded", lambda x, y: (x, y)),
        ("flip_x", lambda x, y: (7 - x, y)),
        ("flip_y", lambda x, y: (x, 5 - y)),
        ("rotate_180", lambda x, y: (7 - x, 5 - y)),
        ("transpose", lambda x, y: (y, x)),
        ("anti_transpose", lambda x, y: (5 - y, 7 - x)),
    ],
)
@pytest.mark.parametrize("downsample", [1, 2])
@pytest.mark.parametrize("polarity", ["off_on", "on_off"])
def test_orientation_polarity_and_pooling(orientation, place, downsample, polarity):
    events = make(300, seed=2)
    fmt = FrameFormat(polarity=polarity, orientation=orientation, downsample=downsample)
    frame = fmt.count(events, (np.array([0]), np.array([300])), SENSOR)[0]
    expected = np.zeros(fmt.shape(SENSOR), np.int64)
    for x, y, p in zip(events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True):
        column, row = place(x, y)
        channel = p if polarity == "off_on" else 1 - p
        expected[channel, row // downsample, column // downsample] += 1
    np.testing.assert_array_equal(frame, expected)


def test_downsample_must_fit_the_sensor():
    with pytest.raises(DataError, match="downsample 4 does not fit a sensor of 8 x 6"):
        FrameFormat(polarity="off_on", orientation="recorded", downsample=4).shape(SENSOR)


def test_a_duration_belongs_to_windows_only():
    with pytest.raises(ValueError, match="window_us"):
        Binning(by="number", n_frames=2, remainder="last", window_us=5)
    with pytest.raises(ValueError, match="window_us"):
        Binning(by="window", n_frames=2, remainder="last", window_us=None)


@pytest.mark.parametrize("on", ["time", "number"])
@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_stream_equals_whole(on, size):
    events = make(700, seed=4)
    starts = np.array([-50, -20, 0, 30, 60, 60, 400, 950, 3000])
    stops = np.array([-10, 40, 40, 90, 90, 300, 500, 1000, 4000])
    chunks = (events.between(i, i + size) for i in range(0, 700, size))
    streamed = list(stream_frames(chunks, starts, stops, PLAIN, SENSOR, on=on))
    where = events.t if on == "time" else np.arange(700)
    ranges = tuple(np.searchsorted(where, edge).astype(np.int64) for edge in (starts, stops))
    np.testing.assert_array_equal(np.stack(streamed), PLAIN.count(events, ranges, SENSOR))


def test_stream_holds_open_windows_only():
    seen = []

    def chunks():
        for i in range(50):
            seen.append(i)
            yield Events(*(np.zeros(2, np.int64) for _ in range(2)), np.full(2, i), np.ones(2))

    starts = np.arange(50)
    stream = stream_frames(chunks(), starts, starts + 1, PLAIN, SENSOR, on="time")
    next(stream)
    assert seen == [0, 1]


def test_stream_refuses_time_that_goes_back_between_chunks():
    chunks = [make(5).between(3, 5), make(5).between(0, 3)]
    stamp = np.array([10])
    with pytest.raises(DataError, match="go backwards in time"):
        list(stream_frames(chunks, stamp, stamp + 10**6, PLAIN, SENSOR, on="time"))


def broken():
    events = make(20)
    events.t[5] = -1
    events.x[7] = SENSOR.width
    events.y[9] = -1
    return events


def test_bad_events_are_an_error_that_names_the_first():
    pattern = r"rec\.bin: 1 of 20 events go backwards.* 2 are off the 8 x 6.*event 5.*task\.on_bad"
    with pytest.raises(DataError, match=pattern):
        clean(broken(), SENSOR, "error", "rec.bin")


def test_bad_events_are_dropped_and_counted():
    events, flaws = clean(broken(), SENSOR, "drop", "rec.bin")
    assert flaws == (1, 2)
    assert len(events) == 17
    assert clean(events, SENSOR, "error", "rec.bin")[1] == (0, 0)


def test_count_never_writes_off_the_frame():
    with pytest.raises(DataError, match="2 events lie off the 8 x 6 sensor"):
        binned(broken(), by="number", n_frames=2, remainder="last", window_us=None)


def test_counts_do_not_wrap():
    n = 70_000
    zeros = np.zeros(n, np.int16)
    events = Events(zeros, zeros, np.arange(n), np.ones(n, np.uint8))
    assert binned(events, by="number", n_frames=1, remainder="last", window_us=None).max() == n
