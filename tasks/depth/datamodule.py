"""The depth task: metric depth from the events of MVSEC's indoor flights."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from snnexp.data import events
from snnexp.data.base import (
    DataError,
    FileInput,
    Part,
    Predictions,
    Split,
    TaskDataModule,
    TaskReport,
    TaskSpec,
)
from snnexp.data.cache import cached
from snnexp.data.event_files import find_root, sample_folder
from snnexp.data.events import OnBad, Sensor
from snnexp.metrics.depth import Depth
from tasks.depth import baselines, figures, frames, layout, sample, scene, splits
from tasks.depth.augment import Augment
from tasks.depth.frames import DepthDataset, FlightFrames, Windows, write_flight

#: depth maps that one file is asked for at once
MOST = 100
HOW_TO_GET = (
    "Fetch indoor_flying{1,2,3}_data.hdf5, indoor_flying{1,2,3}_gt.hdf5 and "
    "indoor_flying_calib.zip of MVSEC (daniilidis-group.github.io/mvsec, CC BY-SA 4.0) to "
    "<data_dir>/MVSEC/indoor_flying, unpack the zip there, and give data=real data_dir=<data_dir>"
)


class DepthTask(TaskDataModule):
    """MVSEC indoor_flying: event histograms of one or two cameras, depth of the left one.

    `cameras`: 2 gives 4 channels (left ON, OFF, right ON, OFF), 1 the left two.
    `steps`, `summed`: an input has `steps` steps, each the sum of `summed` windows that follow
    one another; the last window of the last step is the target's own.
    `ranges`, `split`: tasks.depth.splits; a sample is used whole.
    `val_from`: test takes `val_frames` of the test flight at random, neighbours of the frames that
    test (the authors'); train takes the last `val_share` of each training flight, `val_gap` maps
    after the last that trains.
    Targets without a known pixel, and those none of whose windows holds an event, are left out and
    counted.
    Source: Zhu et al. 2018 (data), Rançon et al. 2022 (StereoSpike: inputs, splits).
    """

    suffixes = (".hdf5", ".h5")
    cuts_time = True
    picks_index = True

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        split: Literal[1, 2, 3],
        ranges: splits.RangeRule,
        cameras: Literal[1, 2],
        steps: int,
        summed: int,
        windows: Windows,
        augment: Augment | None,
        on_bad: OnBad,
        val_from: Literal["test", "train"],
        val_frames: int,
        val_share: float,
        val_gap: int,
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        if windows.by == "drift" and data == "real" and ranges != "authors":
            raise ValueError(
                f"task.windows.by=drift starts at the crop of task.ranges=authors, not {ranges}"
            )
        self.split, self.ranges = split, ranges
        self.cameras, self.steps, self.summed, self.windows = cameras, steps, summed, windows
        self.augment, self.on_bad = augment, on_bad
        self.val_from, self.val_frames = val_from, val_frames
        self.val_share, self.val_gap = val_share, val_gap
        self.notes: Counter[str] = Counter()

    def locate(self) -> Path:
        """Return the folder of the flights."""
        if self.data == "sample":
            return sample_folder(self, "depth", sample.make_sample, [sample, scene, layout])
        folders = ["MVSEC/indoor_flying", "indoor_flying", "MVSEC"]
        return find_root(self.data_dir, folders, "indoor_flying1_data.hdf5", HOW_TO_GET)

    def prepare_data(self) -> None:
        """Fetch or make the files, and bin all flights: once, in one process."""
        self._load()

    def _load(self) -> tuple[list[splits.Span], list[FlightFrames]]:
        """Return the spans of the split, the test flight's first, and the frames of each."""
        root = self.locate()
        files = {k: layout.flight(root, k) for k in (1, 2, 3)}
        sizes = {layout.sensor_of(f.truth) for f in files.values()}
        if len(sizes) > 1:
            raise DataError(f"{root}: the flights have depth maps of several sizes: {sizes}")
        maps = {k: len(layout.depth_stamps(f.truth)) for k, f in files.items()}
        rule: Any = "whole" if self.data == "sample" else self.ranges
        found = splits.spans(self.split, rule, self.steps * self.summed, maps)
        return found, [FlightFrames(self._flight(files[s.flight], s.crop)) for s in found]

    def _flight(self, files: layout.Flight, crop: int) -> Path:
        maps = [layout.map_path(files.calib, s, axis) for s in layout.SIDES for axis in "xy"]
        key = {
            "flight": files.number,
            "files": [(s.st_size, s.st_mtime_ns) for s in (files.data.stat(), files.truth.stat())],
            "maps": [sha256(path.read_bytes()).hexdigest() for path in maps],
            "windows": asdict(self.windows),
            "crop": crop if self.windows.by == "drift" else 0,
            "on_bad": self.on_bad,
        }
        return cached(
            self.cache_dir / "frames" / "depth",
            key,
            [events, layout, frames],
            lambda f: write_flight(f, files, self.windows, crop, self.on_bad, layout.ROWS),
            f"the event frames of flight {files.number}",
        )

    def setup(self, stage: str | None = None) -> None:
        """Split the targets; open the caches."""
        found, flights = self._load()
        self.notes = sum((Counter(f.notes) for f in flights), Counter[str]())
        items: dict[Split, NDArray[np.int64]] = {}
        parts = [self._targets(k, span, flights[k]) for k, span in enumerate(found)]
        items["test"] = parts[0]
        if self.val_from == "test":
            chosen = splits.shuffled_validation(len(parts[0]), self.val_frames)
            held = np.array([i in chosen for i in range(len(parts[0]))])
            items["val"], items["test"] = parts[0][held], parts[0][~held]
            items["train"] = np.concatenate(parts[1:])
        else:
            cuts = [len(p) - round(self.val_share * len(p)) for p in parts[1:]]
            pairs = list(zip(parts[1:], cuts, strict=True))
            items["train"] = np.concatenate([p[: max(c - self.val_gap, 0)] for p, c in pairs])
            items["val"] = np.concatenate([p[c:] for p, c in pairs])
        for split, rows in items.items():
            if not len(rows):
                raise DataError(f"depth: no {split} targets are left in split {self.split}")
        self.datasets = {
            split: DepthDataset(
                flights,
                rows,
                steps=self.steps,
                summed=self.summed,
                channels=2 * self.cameras,
                augment=self.augment if split == "train" else None,
            )
            for split, rows in items.items()
        }
        height, width = flights[0].left_depth.shape[1:]
        self._spec = TaskSpec(
            name="depth",
            kind="depth",
            step_shape=(2 * self.cameras, height, width),
            n_steps=self.steps,
            dt=self.windows.window_us * 1e-6 * self.summed,
            item="frame",
        )

    def _targets(self, k: int, span: splits.Span, flight: FlightFrames) -> NDArray[np.int64]:
        """Return the rows (place of the flight, map) that can be used, and count the others."""
        reach = self.steps * self.summed
        # a crop that drifts has no windows before it
        begin = span.crop if self.windows.by == "drift" else 0
        first = max(span.first, begin + reach - 1)
        maps = np.arange(first, span.stop)
        known = flight.known[maps] > 0
        cumulated = np.concatenate([[0], np.cumsum(flight.events)])
        seen = cumulated[maps + 1] > cumulated[maps + 1 - reach]
        self.notes["targets without known depth, skipped"] += int((~known).sum())
        self.notes["targets without events, skipped"] += int((known & ~seen).sum())
        kept = maps[known & seen]
        return np.stack([np.full_like(kept, k), kept], axis=1)

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Bin the events before each depth map, or, without a _gt file, one window after another.

        Beside the _data file the folder must hold the rectification maps.
        """
        files = layout.flight_of(path)
        spec, reach, width = self.spec, self.steps * self.summed, self.windows.window_us
        sensor = Sensor(*spec.step_shape[1:])
        truth = files.truth.is_file()
        if truth:
            stamps = layout.depth_stamps(files.truth)
        else:
            begin, end = layout.span(files.data)
            stamps = np.arange(begin + width, end + 1, width)
        rows = np.arange(reach - 1, len(stamps))
        if not truth:
            rows = rows[::reach]
        seconds = (stamps[rows] - stamps[0]) * 1e-6 if len(rows) else np.empty(0)
        low = -np.inf if part.start is None else part.start
        high = np.inf if part.stop is None else part.stop
        rows = rows[(seconds >= low) & (seconds <= high)]
        if part.index is not None and not 0 <= part.index < len(rows):
            raise DataError(f"{path} gives inputs 0 to {len(rows) - 1}; asked for {part.index}")
        if part.index is not None:
            rows = rows[[part.index]]
        if not 0 < len(rows) <= MOST:
            raise DataError(
                f"{path} gives {len(rows)} inputs; choose up to {MOST} of them with index=<n>, or "
                "start= and stop= in seconds"
            )
        return [self._input_at(files, sensor, stamps, int(i), truth) for i in rows]

    def _input_at(
        self,
        files: layout.Flight,
        sensor: Sensor,
        stamps: NDArray[np.int64],
        i: int,
        truth: bool,
    ) -> FileInput:
        """Make the input whose last window ends at stamp `i`."""
        reach = self.steps * self.summed
        stops = stamps[i - reach + 1 : i + 1]
        notes: Counter[str] = Counter()
        views = frames.windows_at(
            files,
            stops,
            self.windows,
            sensor,
            sides=layout.SIDES[: self.cameras],
            on_bad=self.on_bad,
            notes=notes,
        )
        x = views.reshape(self.steps, self.summed, *views.shape[1:]).sum(1, dtype=np.float32)
        said = [f"{k}: {n:,}" for k, n in (+notes).items()]
        if self.windows.by == "drift":
            said.append("windows end at the depth maps' own times, not where task.windows=drift")
        depth = torch.from_numpy(layout.depth_map(files.truth, i)) if truth else None
        name = f"{files.data.stem}, {(stamps[i] - stamps[0]) * 1e-6:.2f} s"
        return FileInput(
            name, torch.from_numpy(x), None if depth is None else depth[None], tuple(said)
        )

    def report(self) -> TaskReport:
        """Say which flights these were."""
        if self.data == "sample":
            source = "three simulated flights past textured boxes, two event cameras"
        else:
            source = f"MVSEC indoor_flying, split {self.split} ({self.ranges} ranges)"
        sizes = {str(s): len(d) for s, d in self.datasets.items()}  # type: ignore[arg-type]
        return TaskReport(self.data, source, sizes, dict(+self.notes), HOW_TO_GET)

    def baselines(self) -> dict[str, float]:
        """Return the test error in cm of the mean training depth, and of a linear model."""
        train, test = self.datasets["train"], self.datasets["test"]
        assert isinstance(train, DepthDataset)
        assert isinstance(test, DepthDataset)
        return baselines.errors(train, test)

    def extra_metrics(self, split: Split, predictions: Predictions) -> dict[str, float]:
        """Return the one-pixel accuracy, where the calibration file tells the focal length."""
        known = layout.focal_baseline(layout.flight(self.locate(), self.split).calib)
        if known is None:
            return {}
        result = {}
        for name, scale in (("1pa", 1.0), ("1pa_x7", 7.0)):
            metric = Depth(split, focal_baseline=known, disparity_scale=scale)
            parts = zip(predictions.scores.split(32), predictions.target.split(32), strict=True)
            for prediction, target in parts:
                metric.update(prediction, target)
            result[name] = metric.compute()[f"{split}/1pa"]
        return result

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """Draw events, true and predicted depth of some frames, and a film of a stretch."""
        dataset = self.datasets[split]
        assert isinstance(dataset, DepthDataset)
        order = torch.argsort(predictions.index)
        return figures.draw(dataset, predictions, order, split, folder)
