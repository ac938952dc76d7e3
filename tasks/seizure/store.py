"""The feature store: spectrograms of all windows in one memory-mapped file, with their table.

Letters: N windows, C channels, F frequency bins, S spectrogram frames.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from snnexp.data.base import ArrayDataset, Batch, DataError
from tasks.seizure.features import Spectrogram
from tasks.seizure.windows import Block, WindowTable

Float32 = NDArray[np.float32]
Read = Callable[[], Block]


@dataclass(frozen=True)
class Store:
    """What `build` wrote: features [N, C, F, S] (memory-mapped), baseline features [N, C, 7].

    `rate` in Hz after resampling; `notes` counts what was skipped; `facts` is the task's own.
    """

    features: Tensor
    baseline: Float32
    table: WindowTable
    rate: float
    notes: dict[str, int]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Part:
    where: str
    features: Float32
    baseline: Float32
    rows: WindowTable
    rate: float
    not_finite: int


def build(
    folder: Path,
    reads: Mapping[str, Read],
    spectrogram: Spectrogram,
    skip_bad: bool,
    notes: Mapping[str, int],
    facts: Mapping[str, Any],
) -> None:
    """Read all blocks (name -> reader), compute their features in parallel, and write the store.

    A window with samples that are not finite is left out and counted. A block that raises
    DataError is counted where `skip_bad`, else the error ends the build. All blocks must agree in
    rate, channels and length: DataError names the two that do not.
    """
    stop, failure = Event(), None
    threads = Parallel(n_jobs=os.cpu_count() or 1, backend="threading", return_as="generator")
    parts: Iterable[_Part | DataError] = threads(
        delayed(_compute)(where, read, spectrogram, stop) for where, read in reads.items()
    )
    with (folder / "features.f32").open("wb") as file:
        kept = _Kept(file, skip_bad, dict(notes))
        for part in track(parts, description="seizure features", total=len(reads)):
            if failure is None:
                try:
                    kept.add(part)
                except DataError as error:
                    # The threads finish what they hold; nothing new is computed.
                    failure = error
                    stop.set()
    if failure is not None:
        raise failure
    kept.close(folder, facts)


def _compute(where: str, read: Read, spectrogram: Spectrogram, stop: Event) -> _Part | DataError:
    if stop.is_set():
        return DataError("stopped")
    try:
        block = read()
        finite = np.atleast_1d(np.isfinite(block.signals).all(axis=(1, 2)))
        rows = block.rows.take(np.flatnonzero(finite))
        if not len(rows):
            nothing = np.empty(0, np.float32)
            return _Part(where, nothing, nothing, rows, block.rate, len(finite))
        signals = block.signals if finite.all() else block.signals[finite]
        features, baseline = spectrogram(signals, block.rate, where)
    except DataError as error:
        return error
    return _Part(where, features, baseline, rows, block.rate, int((~finite).sum()))


class _Kept:
    """What has been written so far, and the counts of what has not."""

    def __init__(self, file: BinaryIO, skip_bad: bool, counts: dict[str, int]) -> None:
        self.file, self.skip_bad, self.counts = file, skip_bad, counts
        self.first: _Part | None = None
        self.rows: list[WindowTable] = []
        self.baselines: list[Float32] = []

    def add(self, part: _Part | DataError) -> None:
        """Append one block's features."""
        if isinstance(part, DataError):
            if not self.skip_bad:
                raise part
            self._count("bad files skipped", 1)
            return
        self._count("windows with samples that are not finite", part.not_finite)
        if not len(part.rows):
            return
        self.first = self.first or part
        _check_same(self.first, part)
        np.ascontiguousarray(part.features).tofile(self.file)
        self.rows.append(part.rows)
        self.baselines.append(part.baseline)

    def _count(self, what: str, n: int) -> None:
        if n:
            self.counts[what] = self.counts.get(what, 0) + n

    def close(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write table, baseline features and description beside the features."""
        if self.first is None:
            raise DataError(f"no usable window; what was skipped: {self.counts}")
        table = WindowTable.stack(self.rows)
        table.save(folder / "table.npz")
        np.save(folder / "baseline.npy", np.concatenate(self.baselines))
        meta = {
            "shape": [len(table), *self.first.features.shape[1:]],
            "rate": self.first.rate,
            "notes": self.counts,
            "facts": dict(facts),
        }
        (folder / "store.json").write_text(json.dumps(meta, indent=1) + "\n")


def _check_same(a: _Part, b: _Part) -> None:
    if b.features.shape[1] != a.features.shape[1]:
        raise DataError(
            f"{b.where} has {b.features.shape[1]} channels, {a.where} has {a.features.shape[1]}: "
            "take one patient by task.source.patients, or pool the channels by "
            "task.features.channel_quantiles=[0.1,0.5,0.9]"
        )
    if b.rate != a.rate:
        raise DataError(
            f"{b.where} is sampled at {b.rate:g} Hz, {a.where} at {a.rate:g} Hz: resample all to "
            "one rate by task.source.rate (of recordings: task.source.montage.rate)"
        )
    if b.features.shape[1:] != a.features.shape[1:]:
        raise DataError(
            f"windows of {b.where} give spectrograms {b.features.shape[1:]}, those of {a.where} "
            f"{a.features.shape[1:]}: their lengths differ"
        )


def load(folder: Path) -> Store:
    """Open what `build` wrote."""
    meta = json.loads((folder / "store.json").read_text())
    # Copy-on-write: torch wants a writable buffer, the file stays as it is.
    mapped = np.memmap(folder / "features.f32", np.float32, "c", shape=tuple(meta["shape"]))
    return Store(
        torch.from_numpy(mapped),
        np.load(folder / "baseline.npy"),
        WindowTable.load(folder / "table.npz"),
        meta["rate"],
        meta["notes"],
        meta["facts"],
    )


def fingerprint(root: Path) -> str:
    """Return a hash of name, size and time of all files below root, which are too big to hash."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    facts = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class RowDataset(ArrayDataset):
    """Some rows of a store, in memory or mapped; index counts within the rows."""

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        rows: NDArray[np.int64],
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        super().__init__(inputs, targets, transform)
        self.rows = torch.from_numpy(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        rows = self.rows[index]
        assert self.transform is not None
        x, y = self.transform(self.inputs[rows], self.targets[rows])
        return Batch(input=x, target=y, index=index)
