"""MVSEC's indoor_flying files: events, rectified depth, rectification maps, focal length.

<root>/indoor_flying<k>_data.hdf5    davis/{left,right}/events [N, 4]: x, y, time in s, polarity
<root>/indoor_flying<k>_gt.hdf5      davis/{left,right}/depth_image_rect [M, H, W] in metres, NaN
                                     where unknown, and depth_image_rect_ts [M] in s
<root>[/indoor_flying_calib]/indoor_flying_{left,right}_{x,y}_map.txt
                                     where a raw pixel lies in the rectified view, [H, W]
<root>[/indoor_flying_calib]/camchain-imucam-indoor_flying.yaml
                                     projection matrices of the rectified cameras

The sensor's size is that of the depth maps. Files are read in pieces: memory does not grow with
the length of a recording.

Source: Zhu et al. 2018, IEEE RA-L 3, 2032.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import yaml
from numba import njit
from numpy.typing import NDArray

from snnexp.data.base import DataError
from snnexp.data.events import Events, OnBad, Sensor, clean

SCENE = "indoor_flying"
SIDES = ("left", "right")
#: event rows read at once: 32 MB
ROWS = 1_000_000

Rounding = Literal["truncate", "nearest"]
Maps = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Flight:
    """The files of one recording; `calib` holds the maps of all."""

    number: int
    data: Path
    truth: Path
    calib: Path


def flight(root: Path, number: int) -> Flight:
    """Return the files of recording `number`, or raise DataError naming the missing one."""
    stem = f"{SCENE}{number}"
    folder = root / f"{SCENE}_calib"
    found = Flight(
        number,
        root / f"{stem}_data.hdf5",
        root / f"{stem}_gt.hdf5",
        folder if folder.is_dir() else root,
    )
    maps = [map_path(found.calib, side, axis) for side in SIDES for axis in "xy"]
    for path in (found.data, found.truth, *maps):
        if not path.is_file():
            raise DataError(f"{path} is missing; tasks/depth/README.md lists the files needed")
    return found


def flight_of(data: Path) -> Flight:
    """Return the files that lie beside one _data.hdf5; the one with depth maps may be missing."""
    stem = data.stem.removesuffix("_data")
    if stem == data.stem:
        raise DataError(
            f"{data}: expected the file of events, called <recording>_data.hdf5 (the depth maps of "
            "<recording>_gt.hdf5 beside it are shown where they are there)"
        )
    folder = data.parent / f"{SCENE}_calib"
    found = Flight(
        0,
        data,
        data.with_name(f"{stem}_gt{data.suffix}"),
        folder if folder.is_dir() else data.parent,
    )
    for path in (map_path(found.calib, side, axis) for side in SIDES for axis in "xy"):
        if not path.is_file():
            raise DataError(
                f"{path} is missing: events are rectified by the maps beside their file"
            )
    return found


def span(data: Path) -> tuple[int, int]:
    """Return the times of the first and the last event of the left camera in microseconds."""
    with open_hdf5(data) as file:
        events = table(file, "davis/left/events")
        if events.ndim != 2 or events.shape[1] != 4 or not len(events):
            raise DataError(f"{data}: davis/left/events has shape {events.shape}; expected [N, 4]")
        first, last = microseconds(events[0, 2]), microseconds(events[len(events) - 1, 2])
    return int(first), int(last)


def depth_map(truth: Path, i: int) -> NDArray[np.float32]:
    """Return one left depth map [H, W]; what is not a positive depth is NaN."""
    with open_hdf5(truth) as file:
        depth = table(file, "davis/left/depth_image_rect")[i].astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32("nan"))


def map_path(calib: Path, side: str, axis: str) -> Path:
    """Return where a rectification map lies."""
    return calib / f"{SCENE}_{side}_{axis}_map.txt"


def open_hdf5(path: Path) -> h5py.File:
    """Open a file to read; a damaged one is a DataError."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is no sound HDF5 file ({error}); fetch it again") from error


def table(file: h5py.File, key: str) -> h5py.Dataset:
    """Return a data set of an open file, or raise DataError saying what is there instead."""
    found = file.get(key)
    if not isinstance(found, h5py.Dataset):
        there: list[str] = []
        file.visititems(lambda name, x: there.append(name) if isinstance(x, h5py.Dataset) else None)
        raise DataError(f"{file.filename} has no {key}; it has {', '.join(there) or 'nothing'}")
    return found


def sensor_of(truth: Path) -> Sensor:
    """Return height and width of the depth maps."""
    with open_hdf5(truth) as file:
        depth = table(file, "davis/left/depth_image_rect")
        if depth.ndim != 3:
            raise DataError(f"{truth}: depth_image_rect has shape {depth.shape}, not [M, H, W]")
        return Sensor(*depth.shape[1:])


def depth_stamps(truth: Path) -> NDArray[np.int64]:
    """Return the time of each left depth map in microseconds; they increase."""
    with open_hdf5(truth) as file:
        n = len(table(file, "davis/left/depth_image_rect"))
        stamps = microseconds(table(file, "davis/left/depth_image_rect_ts")[:])
    if len(stamps) != n or np.any(np.diff(stamps) <= 0):
        raise DataError(
            f"{truth}: depth_image_rect_ts must hold one time for each of the {n} depth maps, and "
            f"they must increase; it holds {len(stamps)}"
        )
    return stamps


def microseconds(seconds: Any) -> NDArray[np.int64]:
    """Turn times in seconds into whole microseconds."""
    return np.rint(np.asarray(seconds, np.float64) * 1e6).astype(np.int64)


def read_maps(calib: Path, side: str, sensor: Sensor) -> Maps:
    """Return the x and the y map of a camera, each [H, W]."""
    maps = []
    for axis in "xy":
        path = map_path(calib, side, axis)
        try:
            values = np.loadtxt(path, ndmin=2)
        except ValueError as error:
            raise DataError(f"{path} is no table of numbers: {error}") from error
        if values.shape != sensor:
            raise DataError(
                f"{path} has {values.shape[0]} x {values.shape[1]} values, the depth maps have "
                f"{sensor.height} x {sensor.width} pixels: the map belongs to another camera"
            )
        maps.append(values)
    return maps[0], maps[1]


def focal_baseline(calib: Path) -> float | None:
    """Return focal length times baseline in pixel metres, None where no calibration file is.

    It stands, negative, in the projection matrix of the right camera, row 0, column 3.
    """
    path = calib / f"camchain-imucam-{SCENE}.yaml"
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return abs(float(content["cam1"]["projection_matrix"][0][3]))
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} has no cam1.projection_matrix[0][3] ({error})") from error


@njit(cache=True, nogil=True)
def _rectify(x, y, x_map, y_map, half, new_x, new_y):
    """Move each event; return which lie in the view. `half` is 0.5 to round, 0 to truncate."""
    height, width = x_map.shape
    inside = np.empty(x.shape[0], np.bool_)
    for i in range(x.shape[0]):
        u, v = x_map[y[i], x[i]] + half, y_map[y[i], x[i]] + half
        inside[i] = u >= 0 and u < width and v >= 0 and v < height
        if inside[i]:
            new_x[i], new_y[i] = np.int64(u), np.int64(v)
    return inside


def rectify(events: Events, maps: Maps, rounding: Rounding) -> Events:
    """Move events to their rectified pixels; those that leave the view are dropped.

    `truncate` is StereoSpike's, `nearest` Tulyakov et al.'s. The bound is the sensor's side
    itself, excluded; StereoSpike's code includes it, one pixel beyond the frame.
    """
    x, y = np.zeros(len(events), np.int16), np.zeros(len(events), np.int16)
    half = 0.5 if rounding == "nearest" else 0.0
    inside = _rectify(events.x, events.y, *maps, half, x, y)
    return Events(x, y, events.t, events.p).where(inside)


def first_row(events: h5py.Dataset, t_us: int) -> int:
    """Return the first row whose time is `t_us` or later, by bisection on disk."""
    low, high = 0, len(events)
    while low < high:
        middle = (low + high) // 2
        if microseconds(events[middle, 2]) < t_us:
            low = middle + 1
        else:
            high = middle
    return low


def iter_events(
    flight_: Flight,
    side: str,
    sensor: Sensor,
    *,
    start_us: int,
    stop_us: int,
    rounding: Rounding,
    on_bad: OnBad,
    notes: Counter[str],
    rows: int = ROWS,
) -> Iterator[Events]:
    """Yield the rectified events from `start_us` up to `stop_us`, at most `rows` at once."""
    maps = read_maps(flight_.calib, side, sensor)
    with open_hdf5(flight_.data) as file:
        events = table(file, f"davis/{side}/events")
        if events.ndim != 2 or events.shape[1] != 4:
            raise DataError(
                f"{flight_.data}: davis/{side}/events has shape {events.shape}; expected [N, 4]"
            )
        latest = start_us
        for row in range(first_row(events, start_us), len(events), rows):
            block = events[row : row + rows]
            chunk = Events(
                block[:, 0].astype(np.int32),
                block[:, 1].astype(np.int32),
                microseconds(block[:, 2]),
                (block[:, 3] > 0).astype(np.uint8),
            )
            source = f"{flight_.data}, davis/{side}/events, rows from {row}"
            chunk, flaws = clean(chunk, sensor, on_bad, source)
            notes["events back in time, dropped"] += flaws.backwards
            notes["events off the sensor, dropped"] += flaws.off_sensor
            late = int(np.searchsorted(chunk.t, latest))
            if late:
                chunk = _drop_late(chunk, late, source, on_bad, notes)
            if not len(chunk):
                continue
            if chunk.t[0] >= stop_us:
                return
            latest = int(chunk.t[-1])
            seen = rectify(chunk, maps, rounding)
            notes["events outside the rectified view, dropped"] += len(chunk) - len(seen)
            yield seen


def _drop_late(chunk: Events, late: int, source: str, on_bad: OnBad, notes: Counter[str]) -> Events:
    """Drop what goes back in time across two blocks, or raise."""
    if on_bad == "error":
        raise DataError(
            f"{source}: {late} events are earlier than those before them. Use a sound copy of the "
            "file, or task.on_bad=drop to leave such events out and count them"
        )
    notes["events back in time, dropped"] += late
    return chunk.between(late, len(chunk))
