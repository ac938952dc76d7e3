"""Recordings of an event camera as frames: cut, binned, kept on disk, and dealt out in batches.

Letters: N samples, B batch, T frames, H W space.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.data import Dataset

from snnexp.data.base import Batch, DataError
from snnexp.data.events import Binning, Events, FrameFormat, OnBad, Sensor, clean

Role = Literal["train", "test"]


@dataclass(frozen=True)
class Cut:
    """A labelled stretch of a recording: from `start_us` up to, not with, `stop_us`."""

    label: int
    start_us: int | None = None
    stop_us: int | None = None


@dataclass(frozen=True)
class Recording:
    """One file: its part in the official split, the group (user, ...) it is of, its samples."""

    path: Path
    role: Role
    group: str
    cuts: tuple[Cut, ...]


#: reads one recording, in the sensor's coordinates, and counts what it leaves out
Read = Callable[[Recording, Counter[str]], Events]


@dataclass(frozen=True)
class FrameMaker:
    """How the recordings of a task become frames: one rule for the data set and for single files.

    `binning`, `frame_format`: see snnexp.data.events. `on_bad`: error, or drop damaged parts of
    recordings and count them. `classes` are named in errors.
    """

    sensor: Sensor
    binning: Binning
    frame_format: FrameFormat
    on_bad: OnBad
    classes: tuple[str, ...]

    def checked(self, whole: Events, path: Path, notes: Counter[str]) -> Events:
        """Return a recording without damaged events, each of which is counted (or an error)."""
        whole, flaws = clean(whole, self.sensor, self.on_bad, path)
        notes["events back in time, dropped"] += flaws.backwards
        notes["events off the sensor, dropped"] += flaws.off_sensor
        return whole

    def frames(
        self, whole: Events, cut: Cut, path: Path, notes: Counter[str]
    ) -> NDArray[np.int16] | None:
        """Bin one stretch of a recording; None where it is empty and `on_bad` lets it go."""
        first = 0 if cut.start_us is None else int(np.searchsorted(whole.t, cut.start_us))
        last = len(whole) if cut.stop_us is None else int(np.searchsorted(whole.t, cut.stop_us))
        part = whole.between(first, last)
        if not len(part):
            if self.on_bad == "error":
                raise DataError(
                    f"{path} has no events for {self.classes[cut.label]} between "
                    f"{cut.start_us} and {cut.stop_us} us. Set task.on_bad=drop to skip and "
                    "count such samples"
                )
            notes["samples without events, skipped"] += 1
            return None
        counts = self.frame_format.count(part, self.binning.ranges(part.t), self.sensor)
        if counts.max() > np.iinfo(np.int16).max:
            raise DataError(
                f"{path}: a pixel fired {counts.max()} times in one frame, more than "
                "the 32767 a cached frame holds; raise task.binning.n_frames"
            )
        notes["frames without events"] += int((counts.sum(axis=(1, 2, 3)) == 0).sum())
        return counts.astype(np.int16)

    def write(self, folder: Path, recordings: list[Recording], read: Read, title: str) -> None:
        """Bin all recordings, in threads (the kernels hold no lock), and write them in order."""
        n = sum(len(r.cuts) for r in recordings)
        shape = (n, self.binning.n_frames, *self.frame_format.shape(self.sensor))
        frames = np.lib.format.open_memmap(folder / "all.npy", "w+", np.int16, shape)
        about: dict[str, list[Any]] = {"label": [], "role": [], "group": []}
        notes: Counter[str] = Counter()
        parallel = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")
        results = parallel(joblib.delayed(self._bin)(r, read) for r in recordings)
        described = f"events to frames: {title}"
        for recording, (samples, counted) in track(
            zip(recordings, results, strict=True), described, total=len(recordings)
        ):
            notes += counted
            for label, sample in samples:
                frames[len(about["label"])] = sample
                about["label"].append(label)
                about["role"].append(recording.role)
                about["group"].append(recording.group)
        kept = len(about["label"])
        frames.flush()
        if kept == n:
            (folder / "all.npy").rename(folder / "frames.npy")
        else:
            np.save(folder / "frames.npy", frames[:kept])
            (folder / "all.npy").unlink()
        (folder / "samples.json").write_text(json.dumps({**about, "notes": notes}))

    def _bin(
        self, recording: Recording, read: Read
    ) -> tuple[list[tuple[int, NDArray[Any]]], Counter[str]]:
        """Return label and frames of each sample of one recording, and what was counted."""
        notes: Counter[str] = Counter()
        whole = self.checked(read(recording, notes), recording.path, notes)
        samples = []
        for cut in recording.cuts:
            frames = self.frames(whole, cut, recording.path, notes)
            if frames is not None:
                samples.append((cut.label, frames))
        return samples, +notes


class FrameStore:
    """Frames of all samples, memory-mapped from one file, with their labels, roles and groups.

    Counts are int16 on disk. Samples stand in the order of their recordings. Pickled (for loader
    workers) it carries the path, not the frames.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads((folder / "samples.json").read_text())
        self.label: NDArray[np.int64] = np.array(about["label"], np.int64)
        self.role: list[str] = about["role"]
        self.group: list[str] = about["group"]
        self.notes: dict[str, int] = about["notes"]

    @cached_property
    def frames(self) -> NDArray[np.int16]:
        """All frames [N, T, 2, H, W], on disk."""
        return np.load(self.folder / "frames.npy", mmap_mode="r")

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "frames"}


class FrameDataset(Dataset[Batch]):
    """Some rows of a `FrameStore` as float32 batches.

    With `keep`, each batch keeps that many of its T frames, drawn without replacement, in order and
    the same for all its samples: the random temporal delete of the SEW ResNet code.
    """

    def __init__(self, store: FrameStore, rows: NDArray[np.int64], keep: int | None) -> None:
        self.store, self.rows, self.keep = store, rows, keep

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Batch:
        batch = self.__getitems__([i])
        return Batch(input=batch["input"][0], target=batch["target"][0], index=batch["index"][0])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = self.rows[list(indices)]
        frames = torch.from_numpy(np.asarray(self.store.frames[rows]))
        if self.keep is not None:
            frames = frames[:, torch.randperm(frames.shape[1])[: self.keep].sort().values]
        target = torch.from_numpy(self.store.label[rows])
        return Batch(input=frames.float(), target=target, index=torch.as_tensor(indices))
