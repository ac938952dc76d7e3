"""The traffic task: encrypted flows as 300 x 300 histograms of packet sizes over time, 14 classes.

Letters: B batch, T time bins, S size bins, W windows, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from snnexp.data.base import (
    Batch,
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
from snnexp.data.splits import BalancedSampler
from tasks.traffic import labels, laws, sample, wire
from tasks.traffic.baseline import linear_accuracy
from tasks.traffic.encode import SIZE_BINS, TIME_BINS, TimeAxis, Unpaired, histograms
from tasks.traffic.extract import (
    CAPTURE_SUFFIXES,
    HOW_TO_GET,
    Extracted,
    OnFault,
    Source,
    extract,
    find,
    windows_of,
)
from tasks.traffic.figures import class_means
from tasks.traffic.metrics import confusion, derived_problems
from tasks.traffic.protocols import by_capture, by_window
from tasks.traffic.windows import Clock, WindowRule

FOLDERS: dict[Source, tuple[str, ...]] = {
    "captures": ("ISCX", "iscx"),
    "flowpic": ("Classes_csv",),
}
SAMPLE_CAPTURES = 20


class WindowDataset(Dataset[Batch]):
    """Windows kept as packets; a batch becomes histograms [B, T, S] when it is asked for."""

    def __init__(
        self,
        data: Extracted,
        members: np.ndarray,
        *,
        length: float,
        time_axis: TimeAxis,
        unpaired: Unpaired,
    ) -> None:
        self.data, self.members = data, members
        self.length, self.time_axis, self.unpaired = length, time_axis, unpaired
        self.targets = torch.from_numpy(data.label[members])

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, i: int) -> Batch:
        batch = self.__getitems__([i])
        return Batch(input=batch["input"][0], target=batch["target"][0], index=batch["index"][0])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        w = self.members[index.numpy()]
        windows = self.data.windows
        counts_BTS = histograms(
            windows.time,
            windows.size,
            windows.bounds[w],
            windows.start[w],
            length=self.length,
            time_axis=self.time_axis,
            unpaired=self.unpaired,
        )
        return Batch(input=torch.from_numpy(counts_BTS), target=self.targets[index], index=index)


class TrafficTask(TaskDataModule):
    """Category and encryption of a flow from 60 s of its packets' sizes and times.

    `split` window: at random over windows, as the authors, although windows of one flow overlap
    by 45 s; capture: no flow and no capture in two splits. `clock`, `time_axis` and `unpaired`
    choose between the authors' histogram and one whose time bins are 200 ms from the window's
    start on (`windows.WindowRule`, `encode.histograms`).
    Source: Rasteh, Delpech, Aguilar-Melchor, Zimmer, Shouraki, Masquelier, Neurocomputing 503
    (2022) 272-282, and the authors' public code; captures of UNB, rows of FlowPic.
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
        labels: str | None,
        unlabelled: OnFault,
        bad_captures: OnFault,
        window: float,
        stride: float,
        min_packets: int,
        min_span: float,
        max_windows_per_flow: int,
        clock: Clock,
        time_axis: TimeAxis,
        unpaired: Unpaired,
        split: Literal["window", "capture"],
        shares: dict[str, float],
        seed: int,
        split_seed: int,
        balanced: bool,
        jobs: int,
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        if data == "sample" and source != "captures":
            raise ValueError("task.source=flowpic needs data=real; the sample is captures")
        if min(window, stride) <= 0 or min_packets < 1 or max_windows_per_flow < 1:
            raise ValueError(
                f"task.window={window}, task.stride={stride}, task.min_packets={min_packets} and"
                f" task.max_windows_per_flow={max_windows_per_flow} must be positive"
            )
        if set(shares) != {"train", "val", "test"}:
            raise ValueError(f"task.shares needs train, val and test; given {sorted(shares)}")
        self.source, self.unlabelled, self.bad_captures = source, unlabelled, bad_captures
        self.suffixes = CAPTURE_SUFFIXES if source == "captures" else (".csv",)
        self.table = labels
        self.rule = WindowRule(
            length=window,
            stride=stride,
            min_packets=min_packets,
            min_span=min_span,
            clock=clock,
            max_per_flow=max_windows_per_flow,
        )
        self.time_axis, self.unpaired = time_axis, unpaired
        self.split, self.seed, self.split_seed = split, seed, split_seed
        self.balanced, self.jobs = balanced, jobs
        self.shares: dict[Split, float] = {
            "train": shares["train"],
            "val": shares["val"],
            "test": shares["test"],
        }
        self._extracted: Extracted | None = None
        self._notes: dict[str, int | float | str] = {}

    def prepare_data(self) -> None:
        """Write the sample where it is wanted, and cut all files into cached windows."""
        self._extract()

    def setup(self, stage: str | None = None) -> None:
        """Read the windows and deal them to the splits."""
        if self.datasets:
            return
        data = self._extract()
        self._notes = dict(data.notes)
        if self.split == "window":
            splits = by_window(data, self.shares, self.split_seed)
        else:
            splits, lacking = by_capture(data, self.shares, self.split_seed)
            self._notes.update(lacking)
        for split, members in splits.items():
            if not len(members):
                raise DataError(
                    f"no window is left for {split}: {len(data.windows)} windows of"
                    f" {len(set(data.flow_source))} captures, task.split={self.split}"
                )
            self.datasets[split] = WindowDataset(
                data,
                members,
                length=self.rule.length,
                time_axis=self.time_axis,
                unpaired=self.unpaired,
            )
        # with the span axis a bin is as wide as the window's packets make it
        dt = self.rule.length / TIME_BINS if self.time_axis == "fixed" else None
        self._spec = TaskSpec(
            name="traffic",
            kind="classification",
            step_shape=(SIZE_BINS,),
            n_steps=TIME_BINS,
            dt=dt,
            classes=labels.CLASSES,
            item="window",
        )

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Cut the flows of a capture into windows; each window is an input."""
        windows, names, notes = windows_of(path, self.rule, self.source)
        if not len(windows):
            raise DataError(
                f"{path} gave no window of {self.rule.length:g} s with {self.rule.min_packets} "
                f"packets over {self.rule.min_span:g} s a direction ({'; '.join(notes)})"
            )
        counts_BTS = histograms(
            windows.time,
            windows.size,
            windows.bounds,
            windows.start,
            length=self.rule.length,
            time_axis=self.time_axis,
            unpaired=self.unpaired,
        )
        return [
            FileInput(f"{name}, {start:g}-{start + self.rule.length:g} s", x, notes=tuple(notes))
            for name, start, x in zip(
                names, windows.start, torch.from_numpy(counts_BTS), strict=True
            )
        ]

    def _extract(self) -> Extracted:
        if self._extracted is not None:
            return self._extracted
        table = labels.LabelTable(Path(self.table) if self.table else labels.TABLE)
        notes: Counter[str] = Counter()
        folder = self._folder()
        items = find(folder, self.source, table, self.unlabelled, notes)
        data = extract(
            items,
            self.rule,
            source=self.source,
            bad_captures=self.bad_captures,
            cache=self.cache_dir / "traffic",
            jobs=self.jobs,
            notes=notes,
        )
        if not len(data.windows):
            raise DataError(
                f"{len(items)} files below {folder} gave no window of {self.rule.length:g} s with"
                f" {self.rule.min_packets} packets over {self.rule.min_span:g} s a direction"
                f" ({dict(data.notes)})"
            )
        self._extracted = data
        return data

    def _folder(self) -> Path:
        """Return the folder of the files; write the sample where it is asked for."""
        if self.data == "sample":
            return cached(
                self.cache_dir / "samples",
                {"task": "traffic", "captures": SAMPLE_CAPTURES},
                [laws, sample, wire],
                lambda folder: sample.write_sample(folder, SAMPLE_CAPTURES),
                "sample captures of the traffic task",
            )
        for name in FOLDERS[self.source]:
            if (self.data_dir / name).is_dir():
                return self.data_dir / name
        if not self.data_dir.is_dir():
            raise DataError(f"data_dir={self.data_dir} is no folder. {HOW_TO_GET}")
        return self.data_dir

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches; with `balanced` each class is drawn equally often, with replacement."""
        if not self.balanced:
            return super().train_dataloader()
        targets = self._windows("train").targets
        return self.loader("train", sampler=BalancedSampler(targets, self.seed))

    def _windows(self, split: Split) -> WindowDataset:
        dataset = self.datasets[split]
        assert isinstance(dataset, WindowDataset)
        return dataset

    def report(self) -> TaskReport:
        """Say what was read, what was dropped and why."""
        if self.data == "sample":
            source = "simulated hosts' captures, written in the layout of ISCX"
        else:
            source = {"captures": "captures below", "flowpic": "FlowPic's rows below"}[self.source]
            source = f"{source} {self.data_dir}"
        sizes = {str(split): len(self._windows(split)) for split in self.datasets}
        return TaskReport(self.data, source, sizes, self._notes, HOW_TO_GET)

    def baselines(self) -> dict[str, float]:
        """Test accuracy of the most frequent class, and of logistic regression on the marginals."""
        train, test = self._windows("train"), self._windows("test")
        common = int(torch.bincount(train.targets).argmax())
        return {
            "chance": float((test.targets == common).double().mean()),
            "linear": linear_accuracy(train, test),
        }

    def extra_metrics(self, split: Split, predictions: Predictions) -> dict[str, float]:
        """Return the derived problems (`metrics.derived_problems`) of one 14-class run."""
        predicted = predictions.scores.argmax(1).cpu().numpy()
        target = predictions.target.cpu().numpy()
        return derived_problems(confusion(target, predicted, len(labels.CLASSES)))

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """Draw the mean histogram of each class, both directions over time."""
        return [class_means(self._windows(split), folder / f"histograms_{split}.png")]

    def shown(self, predictions: Predictions) -> dict[str, Batch]:
        """Return the first test window, and the first of each class under the class's name."""
        target, first = np.unique(predictions.target.numpy(), return_index=True)
        windows = self._windows("test")
        items = {
            labels.CLASSES[k]: int(predictions.index[i]) for k, i in zip(target, first, strict=True)
        }
        return {name: windows.__getitems__([i]) for name, i in ({"": 0} | items).items()}

    def state(self) -> dict[str, Any]:
        """Return how a new flow is cut and binned."""
        return {
            "window": self.rule.length,
            "clock": self.rule.clock,
            "time_axis": self.time_axis,
            "unpaired": self.unpaired,
        }
