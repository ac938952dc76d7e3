"""What all tasks share that sort recordings of an event camera into classes.

A task names its recordings and reads them; their frames (snnexp.data.event_frames) are cached on
disk here and become splits, batches, baselines and pictures.

Letters: N samples, B batch, T frames, H W space.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snnexp.data import aedat, event_frames, events
from snnexp.data.base import (
    DataError,
    FileInput,
    Part,
    Predictions,
    Split,
    TaskDataModule,
    TaskSpec,
)
from snnexp.data.cache import cached
from snnexp.data.event_frames import Cut, FrameDataset, FrameMaker, FrameStore, Recording
from snnexp.data.events import Binning, Events, FrameFormat, OnBad, Sensor

#: training samples that the linear baseline sees at most; more change it little and cost minutes
LINEAR_SAMPLES = 10_000


class EventClassification(TaskDataModule):
    """Base of the event-camera classification tasks.

    A subclass gives `task_name`, `sensor`, `readers` (the modules that decide what a file means),
    `classes`, and the four methods that raise NotImplementedError here. Its constructor passes on:

    `binning`, `frame_format`: how events become frames (snnexp.data.events).
    `on_bad`: error, or drop damaged parts of recordings and count them.
    `val_by`: none; tail, the last `val_share` of each class in dataset order (accuracy-B of the
    PLIF code); group, `val_share` of the groups (users), drawn by `split_seed`.
    `temporal_delete`: how many frames a training batch keeps (SEW: 12 of 16); null keeps all.
    """

    task_name: ClassVar[str]
    sensor: ClassVar[Sensor]
    readers: ClassVar[tuple[ModuleType, ...]]
    classes: tuple[str, ...]
    cuts_time = True

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        binning: Binning,
        frame_format: FrameFormat,
        on_bad: OnBad,
        val_by: Literal["none", "tail", "group"],
        val_share: float,
        split_seed: int,
        temporal_delete: int | None,
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        self.binning, self.frame_format, self.on_bad = binning, frame_format, on_bad
        self.val_by, self.val_share, self.split_seed = val_by, val_share, split_seed
        if temporal_delete is not None and not 1 <= temporal_delete <= binning.n_frames:
            raise ValueError(
                f"task.temporal_delete={temporal_delete} must lie in 1..{binning.n_frames} "
                "(task.binning.n_frames)"
            )
        self.temporal_delete = temporal_delete
        self._store: FrameStore | None = None

    def locate(self) -> Path:
        """Return the folder of the official files, sample or real; make or fetch them if needed."""
        raise NotImplementedError

    def recordings(self, root: Path) -> list[Recording]:
        """List the recordings below `root` in dataset order."""
        raise NotImplementedError

    def read(self, recording: Recording, notes: Counter[str]) -> Events:
        """Read one recording, in the sensor's coordinates."""
        raise NotImplementedError

    def key(self) -> dict[str, Any]:
        """Return what else than binning decides what a frame holds."""
        raise NotImplementedError

    @property
    def maker(self) -> FrameMaker:
        """How recordings become frames."""
        return FrameMaker(self.sensor, self.binning, self.frame_format, self.on_bad, self.classes)

    @property
    def store(self) -> FrameStore:
        """The cached frames; known after `prepare_data` or `setup`."""
        if self._store is None:
            self._store = FrameStore(self._build_frames())
        return self._store

    def prepare_data(self) -> None:
        """Fetch or make the files, and bin them: once, in one process."""
        self._build_frames()

    def _build_frames(self) -> Path:
        root = self.locate()
        recordings = self.recordings(root)
        stats = [(r.path.relative_to(root).as_posix(), r.path.stat()) for r in recordings]
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        cuts = [(r.role, r.group, [asdict(c) for c in r.cuts]) for r in recordings]
        key = {
            "task": self.task_name,
            "binning": asdict(self.binning),
            "format": asdict(self.frame_format),
            "on_bad": self.on_bad,
            "files": sha256(json.dumps([files, cuts]).encode()).hexdigest(),
            **self.key(),
        }
        return cached(
            self.cache_dir / "frames" / self.task_name,
            key,
            [events, event_frames, aedat, *self.readers],
            lambda folder: self.maker.write(folder, recordings, self.read, self.task_name),
            f"the event frames of {self.task_name}",
        )

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Bin a recording, or what `stretches` finds in it, as those of the data set were."""
        notes: Counter[str] = Counter()
        whole = self.read(Recording(path, "test", path.stem, ()), notes)
        whole = self.maker.checked(whole, path, notes)
        if not len(whole):
            raise DataError(f"{path} holds no events")
        if part.start is not None or part.stop is not None:
            zero = int(whole.t[0])
            start, stop = (
                None if s is None else zero + round(s * 1e6) for s in (part.start, part.stop)
            )
            name = f"{path.name}, {part.start or 0:g} s to {part.stop or 'its end'}"
            cuts = {name: Cut(0, start, stop)}
        else:
            cuts = self.stretches(path)
        made = []
        for name, cut in cuts.items():
            frames = self.maker.frames(whole, cut, path, notes)
            if frames is not None:
                said = tuple(f"{k}: {n}" for k, n in (+notes).items())
                made.append(FileInput(name, torch.from_numpy(frames).float(), notes=said))
        if not made:
            raise DataError(f"{path} has no events in the stretch that is asked for")
        return made

    def stretches(self, path: Path) -> dict[str, Cut]:
        """Return the inputs that a file holds, by name: here one, the whole recording."""
        return {path.name: Cut(0)}

    def setup(self, stage: str | None = None) -> None:
        """Split the samples; open the cache."""
        store = self.store
        rows: dict[Split, NDArray[np.int64]] = {
            split: np.array([i for i, r in enumerate(store.role) if r == split], np.int64)
            for split in ("train", "test")
        }
        rows["train"], rows["val"] = self._validation(rows["train"])
        self.datasets = {
            split: FrameDataset(store, r, self.temporal_delete if split == "train" else None)
            for split, r in rows.items()
        }
        for split in ("train", "test"):
            if not len(rows[split]):
                raise DataError(f"{self.task_name}: no {split} samples in {self.locate()}")
        self._spec = TaskSpec(
            name=self.task_name,
            kind="classification",
            step_shape=self.frame_format.shape(self.sensor),
            n_steps=self.binning.n_frames,
            dt=self.binning.dt,
            classes=self.classes,
            item="recording",
        )

    def _validation(self, train: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Take the validation rows out of the training rows."""
        if self.val_by == "none":
            return train, train[:0]
        held = np.zeros(len(train), bool)
        if self.val_by == "tail":
            label = self.store.label[train]
            for k in np.unique(label):
                of_class = np.flatnonzero(label == k)
                kept = math.ceil(len(of_class) * (1 - self.val_share) - 1e-9)
                held[of_class[kept:]] = True
        else:
            groups = sorted({self.store.group[i] for i in train})
            n = max(1, round(self.val_share * len(groups)))
            if n >= len(groups):
                raise DataError(
                    f"task.val_share={self.val_share} of the {len(groups)} groups of "
                    f"{self.task_name} leaves none to train on"
                )
            chosen = np.random.default_rng(self.split_seed).choice(groups, n, replace=False)
            held = np.isin([self.store.group[i] for i in train], chosen)
        return train[~held], train[held]

    def sizes(self) -> dict[str, int]:
        """Return how many samples each split has."""
        return {split: len(d) for split, d in self.datasets.items()}  # type: ignore[arg-type]

    def baselines(self) -> dict[str, float]:
        """Return the test accuracy of the most frequent class, and of a linear classifier.

        The classifier is ridge regression (strength by leave-one-out on the training set) on
        log(1 + counts) of all frames and both polarities, averaged over blocks to at most 8 by 8.
        """
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        train, test = (self.datasets[split].rows for split in ("train", "test"))  # type: ignore[attr-defined]
        if len(train) > LINEAR_SAMPLES:
            rng = np.random.default_rng(0)
            train = np.sort(rng.choice(train, LINEAR_SAMPLES, replace=False))
        label = self.store.label
        most = np.bincount(label[train]).argmax()
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(0, 6, 13)))
        model.fit(self._pooled(train), label[train])
        return {
            "chance": float((label[test] == most).mean()),
            "linear": float(model.score(self._pooled(test), label[test])),
        }

    def _pooled(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        parts = []
        for some in np.array_split(rows, max(1, len(rows) // 64)):
            x = torch.from_numpy(np.asarray(self.store.frames[some])).float()
            size = (min(8, x.shape[-2]), min(8, x.shape[-1]))
            x = torch.nn.functional.adaptive_avg_pool2d(x.flatten(0, 1), size)
            parts.append(torch.log1p(x).reshape(len(some), -1).numpy())
        return np.concatenate(parts)

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """Draw frames of six samples, ON red and OFF blue, each with what was predicted."""
        chosen = torch.linspace(0, len(predictions.index) - 1, 6).long()
        steps = np.linspace(0, self.binning.n_frames - 1, min(6, self.binning.n_frames)).astype(int)
        figure = Figure(figsize=(1.5 * len(steps), 9.6), layout="constrained")
        axes = figure.subplots(6, len(steps), squeeze=False)
        on = 1 if self.frame_format.polarity == "off_on" else 0
        for row, k in zip(axes, chosen, strict=True):
            frames = self.datasets[split][int(predictions.index[k])]["input"].numpy()
            scale = np.quantile(frames, 0.995).clip(1)
            for axis, step in zip(row, steps, strict=True):
                signed = frames[step, on] - frames[step, 1 - on]
                axis.imshow(signed, cmap="bwr", vmin=-scale, vmax=scale, interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
            true, guess = int(predictions.target[k]), int(predictions.scores[k].argmax())
            name = self.classes[true]
            title = name if true == guess else f"{name}, taken for {self.classes[guess]}"
            row[0].set_title(title, loc="left", fontsize=9)
        for axis, step in zip(axes[-1], steps, strict=True):
            axis.set_xlabel(f"frame {step + 1}", fontsize=8)
        figure.suptitle("more ON events red, more OFF events blue", fontsize=9)
        path = folder / f"{split}_frames.png"
        figure.savefig(path, dpi=110)
        return [path]
