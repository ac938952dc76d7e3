"""The seizure task: spectrograms of EEG windows from one of three sources.

Letters: B batch, T time, N windows, C channels, F frequency bins, S spectrogram frames.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
from snnexp.data.splits import overlap
from tasks.seizure import features as features_module
from tasks.seizure import neural_mass, sample, scene, store, summary, windows
from tasks.seizure.baselines import baselines
from tasks.seizure.features import Spectrogram
from tasks.seizure.protocols import Protocol, Ranges, count_folds, groups_of, split_rows, thin
from tasks.seizure.sources import Judged, Source, plain
from tasks.seizure.store import RowDataset

# Rows of training features in memory while the normalisation is fitted.
_CHUNK = 512


class SeizureTask(TaskDataModule):
    """Tell seizure from the rest in windows of EEG.

    Input [B, T, C, F]. With `loop` = time the steps are spectrogram frames and F are frequency
    bins; with `loop` = frequency (the authors' axes) the steps are frequency bins, F are frames,
    and a step has no duration. `normalise` = train subtracts the mean and divides by the standard
    deviation of each channel and bin over the training windows, and cuts at +-`cut_at`.

    `protocol` names the split (protocols.py), `fold` its fold; `ranges` serves protocol=ranges,
    `n_folds` protocol=kfold. `quiet_per_seizure` keeps at most that many windows without seizure
    for each one with, in training only (null: all), drawn by `split_seed`. `gain_jitter` adds, in
    training, N(0, gain_jitter^2) to the normalised features of each window, and as much to each of
    its channels: with log power, amplifiers of other gains.
    """

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        source: Source,
        features: Spectrogram,
        loop: Literal["time", "frequency"],
        normalise: Literal["none", "train"],
        cut_at: float,
        protocol: Protocol,
        fold: int,
        n_folds: int,
        ranges: Ranges | None,
        split_seed: int,
        quiet_per_seizure: float | None,
        gain_jitter: float,
        bad_files: Literal["error", "skip"],
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        self.source, self.features = source, features
        self.loop, self.normalise, self.cut_at = loop, normalise, cut_at
        self.protocol, self.fold, self.n_folds, self.ranges = protocol, fold, n_folds, ranges
        self.split_seed, self.quiet_per_seizure = split_seed, quiet_per_seizure
        self.gain_jitter = gain_jitter
        self.skip_bad = bad_files == "skip"
        self.suffixes = source.suffixes
        self.cuts_time = source.cuts_time
        self.rate, self.facts = 0.0, dict[str, Any]()
        self.scale: tuple[Tensor, Tensor] | None = None

    def prepare_data(self) -> None:
        """Find or simulate the files, and compute their features once."""
        self._features_folder()

    def root(self) -> Path:
        """Return the folder of the official files: the real ones or the simulated ones."""
        if self.data == "real":
            return self.source.find_root(self.data_dir)
        writer = self.source.sample
        return cached(
            self.cache_dir / "samples" / self.source.name,
            {"sample": type(writer).__name__, **plain(asdict(cast(Any, writer)))},
            [neural_mass, scene, sample, summary],
            writer.write,
            f"the {self.source.name} sample",
        )

    def _features_folder(self) -> Path:
        root = self.root()
        notes: dict[str, int] = {}
        reads, facts = self.source.plan(root, self.skip_bad, notes)
        key = {
            "source": type(self.source).__name__,
            "reading": self.source.key(),
            "features": plain(asdict(self.features)),
            "skip_bad": self.skip_bad,
            "files": store.fingerprint(root),
        }
        return cached(
            self.cache_dir / "features" / self.source.name,
            key,
            [features_module, store, windows, *self.source.readers],
            lambda folder: store.build(folder, reads, self.features, self.skip_bad, notes, facts),
            f"the {self.source.name} features",
        )

    def setup(self, stage: str | None = None) -> None:
        """Open the features, split them, and fit the normalisation on the training rows."""
        if self.datasets:
            return
        self.store = store.load(self._features_folder())
        self.table = self.source.regroup(self.store.table, self.protocol != "ranges")
        self.split = split_rows(
            self.protocol,
            self.table,
            fold=self.fold,
            n_folds=self.n_folds,
            split_seed=self.split_seed,
            ranges=self.ranges,
        )
        if self.quiet_per_seizure is not None:
            quiet = self.table.label != self.source.positive
            self.split["train"] = thin(
                self.split["train"], quiet, self.quiet_per_seizure, self.split_seed
            )
        self.rate, self.facts = self.store.rate, self.store.facts
        if self.normalise == "train":
            self.scale = _fit_scale(self.store.features, self.split["train"])
        target = torch.from_numpy(self.table.label)
        for split, rows in self.split.items():
            transform = self._jittered if split == "train" and self.gain_jitter else self._input
            self.datasets[split] = RowDataset(self.store.features, target, rows, transform)
        self._spec = self._make_spec()

    def _make_spec(self) -> TaskSpec:
        _, channels, bins, frames = self.store.features.shape
        time = self.loop == "time"
        return TaskSpec(
            name=self.source.name,
            kind="classification",
            step_shape=(channels, bins if time else frames),
            n_steps=frames if time else bins,
            dt=self.features.frame_seconds(self.store.rate) if time else None,
            classes=self.source.classes,
            item=self.source.item,
        )

    def restore(self, spec: TaskSpec, state: dict[str, Any]) -> None:
        """Take up the normalisation of the run, its channels and its rate."""
        super().restore(spec, state)
        self.scale = (state["mean"], state["std"]) if "mean" in state else None
        self.rate, self.facts = state["rate"], state["facts"]

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Cut a recording, clip or segment into windows; each window is an input."""
        block = self.source.read_file(path, self.facts)
        if block.rate != self.rate:
            raise DataError(
                f"{path} is sampled at {block.rate:g} Hz, what the run was trained on at "
                f"{self.rate:g} Hz; train with a rate to resample to (task.source.rate, of "
                "recordings task.source.montage.rate)"
            )
        start, end = block.rows.start, block.rows.end
        # a clip does not say when it begins
        inside = np.ones(len(start), bool)
        if part.start is not None:
            inside &= start >= part.start
        if part.stop is not None:
            inside &= end <= part.stop
        rows = np.flatnonzero(inside)
        if not len(rows):
            raise DataError(f"{path} has no window between start={part.start} and {part.stop} s")
        signals = block.signals[rows]
        if not np.isfinite(signals).all():
            raise DataError(f"{path} holds samples that are not finite numbers")
        features, _ = self.features(signals, block.rate, str(path))
        (channels, values), steps = self.spec.step_shape, self.spec.n_steps
        shape = (channels, values, steps) if self.loop == "time" else (channels, steps, values)
        if features.shape[1:] != shape:
            raise DataError(
                f"a window of {path} gives {list(features.shape[1:])} channels, frequencies and "
                f"frames, the run was trained on {list(shape)}: other channels or another length"
            )
        x = self._stepped(self._normalised(torch.from_numpy(features)))
        names = [f"{start[r]:g}-{end[r]:g} s" if np.isfinite(start[r]) else path.name for r in rows]
        return [FileInput(name, item) for name, item in zip(names, x, strict=True)]

    def _normalised(self, x_BCFS: Tensor) -> Tensor:
        if self.scale is None:
            return x_BCFS
        mean, std = self.scale
        return ((x_BCFS - mean) / std).clamp(-self.cut_at, self.cut_at)

    def _jittered(self, x_BCFS: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x_BCFS = self._normalised(x_BCFS)
        b, c = x_BCFS.shape[:2]
        gain = torch.randn(b, 1, 1, 1) + torch.randn(b, c, 1, 1)
        return self._stepped(x_BCFS + self.gain_jitter * gain), y

    def _input(self, x_BCFS: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._stepped(self._normalised(x_BCFS)), y

    def _stepped(self, x_BCFS: Tensor) -> Tensor:
        """Put the axis the neurons run over first."""
        order = (0, 3, 1, 2) if self.loop == "time" else (0, 2, 1, 3)
        return x_BCFS.permute(order).contiguous()

    def report(self) -> TaskReport:
        """Say what the data were, what was skipped, and how many units stand in several splits."""
        notes: dict[str, int | float | str] = dict(self.store.notes)
        for split, rows in self.split.items():
            for k, name in enumerate(self.source.classes):
                notes[f"{split}: {name}"] = int((self.table.label[rows] == k).sum())
        shared = overlap(groups_of(self.table, self.split))
        notes["seizures, recordings or segments in more than one split"] = len(shared)
        folds = count_folds(self.protocol, self.table, self.n_folds)
        if folds is not None:
            notes["fold"] = f"{self.fold} of 0-{folds - 1}, {self.protocol}"
        title = self.source.title
        return TaskReport(
            variant=self.data,
            source=title if self.data == "real" else f"simulated, in the layout of {title}",
            sizes={split: len(rows) for split, rows in self.split.items()},
            notes=notes,
            real_data=f"data=real data_dir=<folder>, with {self.source.real_data}",
            excerpt=self.source.excerpt(self.table) if self.data == "real" else "",
            caution=self.source.caution if self.data == "real" else "",
            fold=None if folds is None else self.fold,
            folds=folds,
        )

    def baselines(self) -> dict[str, float]:
        """Majority, line length, and band powers with logistic regression (baselines.py)."""
        return self._baselines[0]

    @cached_property
    def _baselines(self) -> tuple[dict[str, float], NDArray[np.float64]]:
        chosen = {s: self.store.baseline[rows] for s, rows in self.split.items()}
        labels = {s: self.table.label[rows] for s, rows in self.split.items()}
        return baselines(chosen, labels, self.source.positive)

    def _judged(self, split: Split, predictions: Predictions) -> Judged:
        # Several processes may hand in items in another order, and some twice.
        index, first = np.unique(predictions.index.numpy(), return_index=True)
        probabilities = torch.softmax(predictions.scores.double(), 1).numpy()[first]
        scores = probabilities[:, self.source.positive]
        rows = self.table.take(self.split[split][index])
        linear = self._baselines[1][index] if split == "test" else None
        return Judged(split, self.root(), rows, probabilities, scores, linear, self.store.facts)

    def extra_metrics(self, split: Split, predictions: Predictions) -> dict[str, float]:
        """Sensitivity, specificity, precision, AUC of seizure; of recordings also event figures."""
        return self.source.metrics(self._judged(split, predictions))

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """EEG, annotated seizure and detector's output over time."""
        return self.source.figures(self._judged(split, predictions), folder)

    def state(self) -> dict[str, Any]:
        """Return what a new file needs to become an input."""
        kept: dict[str, Any] = {
            "features": plain(asdict(self.features)),
            "loop": self.loop,
            "rate": self.rate,
            "facts": self.facts,
            "cut_at": self.cut_at,
        }
        if self.scale is not None:
            kept["mean"], kept["std"] = self.scale
        return kept


def _fit_scale(x_NCFS: Tensor, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [C, F, 1] over rows and frames."""
    total = torch.zeros(x_NCFS.shape[1:3], dtype=torch.float64)
    square, count = torch.zeros_like(total), 0
    for i in range(0, len(rows), _CHUNK):
        part = x_NCFS[torch.from_numpy(rows[i : i + _CHUNK])].double()
        total += part.sum((0, 3))
        square += part.square().sum((0, 3))
        count += part.shape[0] * part.shape[3]
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    # A dead channel has no spread: it stays at zero, instead of its rounding errors blown up.
    std[std < 1e-6] = 1.0
    return mean[..., None].float(), std[..., None].float()
