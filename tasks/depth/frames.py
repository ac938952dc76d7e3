"""Frames and depth maps of one flight, cached on disk and memory-mapped; the dataset over them.

Letters: M depth maps, B batch, T steps, C channels, H W space.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from snnexp.data.base import Batch, DataError
from snnexp.data.events import Events, FrameFormat, OnBad, Polarity, Sensor, stream_frames
from tasks.depth.augment import Augment, reverse
from tasks.depth.layout import (
    SIDES,
    Flight,
    Rounding,
    depth_stamps,
    iter_events,
    open_hdf5,
    sensor_of,
    table,
)

#: depth maps copied at once
BLOCK = 64
#: how far drifting windows may run beyond the last stamp
DRIFT_US = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Which events belong to a depth map.

    `stamps`: those of the `window_us` before the map's own time. `drift`: StereoSpike's code; the
    k-th window of a crop starts k windows after the first rectified event that is later than
    the crop's first stamp less one window, on each side its own, whatever the later stamps say.
    """

    by: Literal["stamps", "drift"]
    window_us: int
    polarity: Polarity
    rounding: Rounding


def write_flight(
    folder: Path, files: Flight, windows: Windows, crop: int, on_bad: OnBad, rows: int
) -> None:
    """Write frames.npy [M, 4, H, W] int16, {left,right}_depth.npy [M, H, W] and about.json.

    With `drift` the maps before `crop` get no events. Memory: one block of events, the open
    windows and one block of depth maps, however long the recording.
    """
    sensor, stamps = sensor_of(files.truth), depth_stamps(files.truth)
    n, first = len(stamps), crop if windows.by == "drift" else 0
    notes: Counter[str] = Counter()
    frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.int16, (n, 4, *sensor))
    per_window = np.zeros(n, np.int64)
    fmt = FrameFormat(polarity=windows.polarity, orientation="recorded", downsample=1)
    for s, side in enumerate(SIDES):
        chunks: Iterator[Events] = iter_events(
            files,
            side,
            sensor,
            start_us=int(stamps[first]) - windows.window_us + (windows.by == "drift"),
            stop_us=int(stamps[-1]) + DRIFT_US,
            rounding=windows.rounding,
            on_bad=on_bad,
            notes=notes,
            rows=rows,
        )
        starts = stamps - windows.window_us
        if windows.by == "drift":
            head = next((c for c in chunks if len(c)), Events.none())
            begin = int(head.t[0]) if len(head) else int(starts[first])
            starts = begin + windows.window_us * np.arange(n - first)
            chunks = chain([head], chunks)
        stops = starts + windows.window_us
        binned = stream_frames(chunks, starts, stops, fmt, sensor, on="time")
        described = f"events to frames: flight {files.number}, {side}"
        for k, frame in enumerate(track(binned, described, total=n - first), start=first):
            if frame.max() > np.iinfo(np.int16).max:
                raise DataError(f"{files.data}: a pixel fired {frame.max()} times in one window")
            frames[k, 2 * s : 2 * s + 2] = frame
            per_window[k] += frame.sum()
        _copy_depth(files.truth, side, folder / f"{side}_depth.npy", n)
    frames.flush()
    about = {"events": per_window.tolist(), "known": _known(folder), "notes": +notes}
    (folder / "about.json").write_text(json.dumps(about))


def windows_at(
    files: Flight,
    stops: NDArray[np.int64],
    windows: Windows,
    sensor: Sensor,
    *,
    sides: Sequence[str],
    on_bad: OnBad,
    notes: Counter[str],
) -> NDArray[np.int32]:
    """Return counts [len(stops), 2 sides, H, W] of the windows that end at some times."""
    starts = stops - windows.window_us
    fmt = FrameFormat(polarity=windows.polarity, orientation="recorded", downsample=1)
    views = []
    for side in sides:
        chunks = iter_events(
            files,
            side,
            sensor,
            start_us=int(starts[0]),
            stop_us=int(stops[-1]),
            rounding=windows.rounding,
            on_bad=on_bad,
            notes=notes,
        )
        views.append(np.stack([*stream_frames(chunks, starts, stops, fmt, sensor, on="time")]))
    return np.concatenate(views, axis=1)


def _copy_depth(truth: Path, side: str, target: Path, n: int) -> None:
    """Copy the depth maps of a side; what is not a positive depth becomes NaN."""
    with open_hdf5(truth) as file:
        source = table(file, f"davis/{side}/depth_image_rect")
        if len(source) < n:
            raise DataError(f"{truth}: {len(source)} {side} depth maps for {n} left ones")
        shape = (n, *source.shape[1:])
        depth = np.lib.format.open_memmap(target, "w+", np.float32, shape)
        for i in range(0, n, BLOCK):
            block = source[i : min(i + BLOCK, n)].astype(np.float32)
            depth[i : i + len(block)] = np.where(np.isfinite(block) & (block > 0), block, np.nan)
        depth.flush()


def _known(folder: Path) -> list[int]:
    depth = np.load(folder / "left_depth.npy", mmap_mode="r")
    return [int(np.isfinite(frame).sum()) for frame in depth]


class FlightFrames:
    """A flight's cached frames and depth maps; pickled, it carries the path alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads((folder / "about.json").read_text())
        self.events = np.array(about["events"])
        self.known = np.array(about["known"])
        self.notes: dict[str, int] = about["notes"]

    def _open(self, name: str) -> NDArray[Any]:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @cached_property
    def frames(self) -> NDArray[np.int16]:
        """Event counts [M, 4, H, W]."""
        return self._open("frames")

    @cached_property
    def left_depth(self) -> NDArray[np.float32]:
        """Depth seen from the left camera [M, H, W]."""
        return self._open("left_depth")

    @cached_property
    def right_depth(self) -> NDArray[np.float32]:
        """Depth seen from the right camera [M, H, W]."""
        return self._open("right_depth")

    def __getstate__(self) -> dict[str, Any]:
        arrays = ("frames", "left_depth", "right_depth")
        return {k: v for k, v in self.__dict__.items() if k not in arrays}


class DepthDataset(Dataset[Batch]):
    """Targets (flight, map) with the `steps` times `summed` windows that end at each.

    Inputs are float32 counts [B, T, C, H, W], with C 4 (left, right) or 2 (left); targets are
    metres [B, 1, H, W], NaN where unknown.
    """

    def __init__(
        self,
        flights: Sequence[FlightFrames],
        items: NDArray[np.int64],
        *,
        steps: int,
        summed: int,
        channels: int,
        augment: Augment | None,
    ) -> None:
        self.flights, self.items = list(flights), items
        self.steps, self.summed, self.channels, self.augment = steps, summed, channels, augment

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Batch:
        batch = self.__getitems__([i])
        return Batch(input=batch["input"][0], target=batch["target"][0], index=batch["index"][0])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        items = self.items[list(indices)]
        views = torch.from_numpy(np.stack([self._views(k, i) for k, i in items]))
        if self.augment is None:
            depth = np.stack([self.flights[k].left_depth[i] for k, i in items])
            target = torch.from_numpy(depth)[:, None]
        else:
            views, target = self._augmented(views, items, self.augment)
        return Batch(input=views, target=target, index=torch.as_tensor(indices))

    def _views(self, k: int, i: int) -> NDArray[np.float32]:
        reach = self.steps * self.summed
        counts = self.flights[k].frames[i - reach + 1 : i + 1, : self.channels]
        parts = counts.reshape(self.steps, self.summed, *counts.shape[1:])
        return parts.sum(1, dtype=np.float32)

    def _augmented(
        self, views: Tensor, items: NDArray[np.int64], augment: Augment
    ) -> tuple[Tensor, Tensor]:
        views = augment.drop(views)
        flips, mirrors = augment.flips(len(items)), augment.mirrors(len(items))
        reach = self.steps * self.summed
        targets = []
        for b, (k, i) in enumerate(items):
            flight = self.flights[k]
            # reversed, the film ends where the first of its windows began
            if mirrors[b] and i >= reach and flight.known[i - reach]:
                views[b : b + 1] = reverse(views[b : b + 1])
                i -= reach
            depth = flight.left_depth[i]
            if flips[b]:
                views[b : b + 1] = augment.flip(views[b : b + 1])
                mended = self.channels == 4 and not augment.faults
                depth = (flight.right_depth if mended else flight.left_depth)[i][:, ::-1]
            targets.append(torch.from_numpy(np.array(depth))[None])
        return views, torch.stack(targets)
