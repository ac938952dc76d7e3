"""Events to frames: one counting kernel behind every rule for where a frame starts and stops.

Each rule gives half-open ranges [start, stop) of events; the kernel counts the events of each range
by polarity and pixel. Counts are raw: no normalisation, no clipping. A recording larger than memory
goes through `stream_frames` chunk by chunk.

Letters: M frames, N events, H W sensor, h w frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from snnexp.data.base import DataError

Polarity = Literal["off_on", "on_off"]
Orientation = Literal["recorded", "flip_x", "flip_y", "rotate_180", "transpose", "anti_transpose"]
OnBad = Literal["error", "drop"]


@dataclass(frozen=True, slots=True)
class Events:
    """N events of one camera: column x, row y, time t in microseconds, p 1 for ON and 0 for OFF.

    t does not decrease. x and y are any integers, t is int64, p is 0 or 1.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    t: NDArray[np.int64]
    p: NDArray[Any]

    def __len__(self) -> int:
        return len(self.t)

    def between(self, start: int, stop: int) -> Events:
        """Return the events number start to stop - 1, without a copy."""
        cut = slice(start, stop)
        return Events(self.x[cut], self.y[cut], self.t[cut], self.p[cut])

    def where(self, keep: NDArray[Any]) -> Events:
        """Return the events that a mask or an index array selects."""
        return Events(self.x[keep], self.y[keep], self.t[keep], self.p[keep])

    @staticmethod
    def concatenate(parts: Iterable[Events]) -> Events:
        """Join parts in the order given; the type of a column is that of the parts."""
        parts = list(parts) or [Events.none()]
        return Events(
            np.concatenate([part.x for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.t for part in parts]),
            np.concatenate([part.p for part in parts]),
        )

    @staticmethod
    def none() -> Events:
        """Return no events."""
        place = np.zeros(0, np.int16)
        return Events(place, place, np.zeros(0, np.int64), np.zeros(0, np.uint8))


class Sensor(NamedTuple):
    """Height and width of a camera in pixels."""

    height: int
    width: int


class Flaws(NamedTuple):
    """How many events were found out of time order, and how many off the sensor."""

    backwards: int
    off_sensor: int

    def __add__(self, other: tuple[Any, ...]) -> Flaws:
        return Flaws(self[0] + other[0], self[1] + other[1])


Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]


def ranges_by_number(n_events: int, n_frames: int, remainder: str) -> Ranges:
    """Cut N events into M frames of ⌊N/M⌋ events each.

    frame j takes the events [j ⌊N/M⌋, (j + 1) ⌊N/M⌋). The N mod M events left over go to the last
    frame (`last`: SpikingJelly, the rule of the PLIF and SEW papers) or to none (`drop`: the
    n_event_bins of Tonic's ToFrame).
    """
    edges = np.arange(n_frames + 1, dtype=np.int64) * (n_events // n_frames)
    if remainder == "last":
        edges[-1] = n_events
    return edges[:-1], edges[1:]


def ranges_by_time(t: NDArray[np.int64], n_frames: int, remainder: str) -> Ranges:
    """Cut the time from the first to the last event into M equal frames of d = ⌊(t_N - t_1)/M⌋.

    frame j takes t_1 + j d <= t < t_1 + (j + 1) d. What is left over goes to the last frame
    (`last`: SpikingJelly's split_by='time') or to none (`drop`: Tonic's n_time_bins), which loses
    at least the last event.
    """
    if not len(t):
        return ranges_by_number(0, n_frames, remainder)
    return ranges_by_window(t, n_frames, int(t[-1] - t[0]) // n_frames, remainder)


def ranges_by_window(t: NDArray[np.int64], n_frames: int, window_us: int, remainder: str) -> Ranges:
    """Give M frames of a fixed duration d, the first one starting at the first event.

    frame j takes t_1 + j d <= t < t_1 + (j + 1) d. A recording that is too short leaves its last
    frames empty; what comes after M d goes to the last frame (`last`) or to none (`drop`).
    """
    start = int(t[0]) if len(t) else 0
    times = start + window_us * np.arange(n_frames + 1, dtype=np.int64)
    edges = np.searchsorted(t, times).astype(np.int64)
    if remainder == "last":
        edges[-1] = len(t)
    return edges[:-1], edges[1:]


def ranges_by_stamps(t: NDArray[np.int64], stamps: NDArray[np.int64], window_us: int) -> Ranges:
    """Give each target its own frame: stamp - window <= t < stamp. Frames may overlap."""
    starts = np.searchsorted(t, stamps - window_us)
    return starts.astype(np.int64), np.searchsorted(t, stamps).astype(np.int64)


@njit(cache=True, nogil=True)
def _count(frames, fresh, x, y, p, starts, stops, width, height, shift, a, bx, by, swap):
    """Add the events of each range to its row of frames [M, 2 h w]; return how many were off."""
    plane = frames.shape[1] // 2
    off_sensor = 0
    for m in range(frames.shape[0]):
        frame = frames[m]
        if fresh:
            # just before it is filled, so that it is in the processor's cache by then
            frame[:] = 0
        for i in range(starts[m], stops[m]):
            column, row = np.int64(x[i]), np.int64(y[i])
            if column < 0 or column >= width or row < 0 or row >= height:
                off_sensor += 1
                continue
            channel = np.int64(p[i] > 0) ^ swap
            frame[channel * plane + a + bx * (column >> shift) + by * (row >> shift)] += 1
    return off_sensor


@njit(cache=True, nogil=True)
def _find_flaws(x, y, t, width, height, good):
    """Mark the good events; return the two counts of `Flaws` and the first bad event."""
    backwards = off_sensor = 0
    first = -1
    latest = t[0] if t.shape[0] else 0
    for i in range(t.shape[0]):
        late = t[i] < latest
        off = x[i] < 0 or x[i] >= width or y[i] < 0 or y[i] >= height
        good[i] = not (late or off)
        if late or off:
            backwards += late
            off_sensor += off and not late
            first = i if first < 0 else first
        else:
            latest = t[i]
    return backwards, off_sensor, first


def clean(
    events: Events, sensor: Sensor, on_bad: OnBad, source: object, key: str = "task.on_bad"
) -> tuple[Events, Flaws]:
    """Return the events that can be used, and how many could not.

    An event is bad when its time is before that of a good event ahead of it, or its pixel is off
    the sensor. `on_bad=error` raises DataError naming the first one; `drop` leaves them out.
    """
    good = np.empty(len(events), np.bool_)
    backwards, off_sensor, first = _find_flaws(
        events.x, events.y, events.t, sensor.width, sensor.height, good
    )
    flaws = Flaws(backwards, off_sensor)
    if first < 0:
        return events, flaws
    if on_bad == "error":
        x, y, t = int(events.x[first]), int(events.y[first]), int(events.t[first])
        raise DataError(
            f"{source}: {backwards} of {len(events)} events go backwards in time and {off_sensor} "
            f"are off the {sensor.width} x {sensor.height} sensor; the first is event {first} "
            f"(x {x}, y {y}, t {t} us). Use a sound copy of the file, or {key}=drop to leave such "
            "events out and count them"
        )
    return events.where(good), flaws


@dataclass(frozen=True, kw_only=True)
class FrameFormat:
    """How events become pixels: the order of the two channels, the orientation, the pooling.

    `off_on` makes channel 0 the OFF events (SpikingJelly, Tonic), `on_off` the ON events
    (StereoSpike). With x, y the recorded column and row on a sensor of W by H:

        recorded        x' = x            y' = y
        flip_x          x' = W - 1 - x    y' = y
        flip_y          x' = x            y' = H - 1 - y
        rotate_180      x' = W - 1 - x    y' = H - 1 - y
        transpose       x' = y            y' = x
        anti_transpose  x' = H - 1 - y    y' = W - 1 - x

    `downsample` (1, 2, 4, ...) sums the counts of square blocks; the sensor's sides are multiples.
    """

    polarity: Polarity
    orientation: Orientation
    downsample: int

    def shape(self, sensor: Sensor) -> tuple[int, int, int]:
        """Return [2, h, w]: the shape of one frame of this sensor."""
        k = self.downsample
        if k < 1 or k & (k - 1) or sensor.height % k or sensor.width % k:
            raise DataError(
                f"downsample {k} does not fit a sensor of {sensor.width} x {sensor.height} pixels: "
                "give a power of two that divides both sides"
            )
        h, w = sensor.height // k, sensor.width // k
        return (2, w, h) if self.orientation in ("transpose", "anti_transpose") else (2, h, w)

    def _address(self, sensor: Sensor) -> tuple[int, int, int]:
        """Return a, bx, by, so that a pixel's place in a flat channel is a + bx x + by y."""
        h, w = sensor.height // self.downsample, sensor.width // self.downsample
        return {
            "recorded": (0, 1, w),
            "flip_x": (w - 1, -1, w),
            "flip_y": ((h - 1) * w, 1, -w),
            "rotate_180": (h * w - 1, -1, -w),
            "transpose": (0, h, 1),
            "anti_transpose": (h * w - 1, -h, -1),
        }[self.orientation]

    def count(
        self, events: Events, ranges: Ranges, sensor: Sensor, out: NDArray[np.int32] | None = None
    ) -> NDArray[np.int32]:
        """Count the events of each range [start, stop) into its frame [M, 2, h, w], int32.

        Adds to `out`, C-contiguous, where given. Raises DataError where an event lies off the
        sensor.
        """
        shape = self.shape(sensor)
        starts, stops = ranges
        if len(starts) and (starts.min() < 0 or stops.max() > len(events)):
            raise IndexError(f"ranges reach beyond the {len(events)} events")
        frames = np.empty((len(starts), *shape), np.int32) if out is None else out
        if frames.shape != (len(starts), *shape) or not frames.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous of shape {(len(starts), *shape)}")
        off_sensor = _count(
            frames.reshape(len(starts), -1),
            out is None,
            *(events.x, events.y, events.p),
            *(starts, stops),
            *(sensor.width, sensor.height),
            self.downsample.bit_length() - 1,
            *self._address(sensor),
            int(self.polarity == "on_off"),
        )
        if off_sensor:
            raise DataError(
                f"{off_sensor} events lie off the {sensor.width} x {sensor.height} sensor; "
                "clean them first, or give the sensor's true size"
            )
        return frames


@dataclass(frozen=True, kw_only=True)
class Binning:
    """How one recording becomes `n_frames` frames; the rules are those of the `ranges_by_*`.

    `by` is `number` (of events), `time` (equal parts of the recording) or `window` (`window_us` a
    frame, from the first event); `remainder` says where events left over go: `last` or `drop`.
    """

    by: Literal["number", "time", "window"]
    n_frames: int
    remainder: Literal["last", "drop"]
    window_us: int | None

    def __post_init__(self) -> None:
        if self.n_frames < 1:
            raise ValueError(f"binning.n_frames is {self.n_frames}: it must be 1 or more")
        if (self.by == "window") != (self.window_us is not None):
            raise ValueError(
                f"binning.by={self.by} with binning.window_us={self.window_us}: a duration belongs "
                "to by=window, and only to it"
            )

    def ranges(self, t: NDArray[np.int64]) -> Ranges:
        """Return the first event of each frame, and the one after its last."""
        if self.by == "number":
            return ranges_by_number(len(t), self.n_frames, self.remainder)
        if self.window_us is None:
            return ranges_by_time(t, self.n_frames, self.remainder)
        return ranges_by_window(t, self.n_frames, self.window_us, self.remainder)

    @property
    def dt(self) -> float | None:
        """Duration of a frame in seconds, where all have the same."""
        return None if self.window_us is None else self.window_us * 1e-6


def stream_frames(
    chunks: Iterable[Events],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    frame_format: FrameFormat,
    sensor: Sensor,
    *,
    on: Literal["time", "number"],
) -> Iterator[NDArray[np.int32]]:
    """Yield one frame [2, h, w] for each window [start, stop), in order, from events in chunks.

    The windows are times in microseconds (`on=time`) or numbers of events (`on=number`, counted
    from the first chunk on); starts and stops must not decrease. Only the frames of windows that
    are still open, and one chunk, are in memory. Windows that no event reaches are all zero.
    Raises DataError where a chunk starts before its predecessor ended.
    """
    if np.any(np.diff(starts) < 0) or np.any(np.diff(stops) < 0):
        raise ValueError("windows must be sorted by start and by stop")
    shape = frame_format.shape(sensor)
    opened: deque[NDArray[np.int32]] = deque()
    done = seen = 0
    latest: int | None = None
    for chunk in chunks:
        if not len(chunk):
            continue
        if latest is not None and chunk.t[0] < latest:
            raise DataError(f"events go backwards in time: {int(chunk.t[0])} us after {latest} us")
        latest = int(chunk.t[-1])
        at = chunk.t if on == "time" else np.arange(seen, seen + len(chunk), dtype=np.int64)
        seen += len(chunk)
        still_open: deque[NDArray[np.int32]] = deque()
        for k in range(done, int(np.searchsorted(starts, at[-1], side="right"))):
            frame = opened.popleft() if opened else np.zeros(shape, np.int32)
            first, last = np.searchsorted(at, (starts[k], stops[k]))
            frame_format.count(chunk, _one_range(first, last), sensor, frame[None])
            # an event at exactly the last time seen may follow: what stops there is complete
            if stops[k] <= at[-1]:
                done += 1
                yield frame
            else:
                still_open.append(frame)
        opened = still_open
    yield from opened
    for _ in range(done + len(opened), len(starts)):
        yield np.zeros(shape, np.int32)


def _one_range(start: int, stop: int) -> Ranges:
    return np.array([start], np.int64), np.array([stop], np.int64)
