"""What every task gives the rest of snnexp: a frozen `TaskSpec` and loaders of one batch layout.

Letters: B batch, T time, K classes, H W space, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict, cast

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler

Kind = Literal["classification", "depth"]
Split = Literal["train", "val", "test"]


class DataError(Exception):
    """Data that cannot be used; the message names the file, what was expected and what to do."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """All that a model may know of a task.

    `step_shape` is the shape of one time step (or of the static image), channels first.
    `n_steps` is None for a static input. `dt` is the duration of a step in seconds, None where
    a step has no physical duration.
    """

    name: str
    kind: Kind
    step_shape: tuple[int, ...]
    n_steps: int | None
    dt: float | None
    classes: tuple[str, ...] = ()
    item: str = "sample"

    @property
    def static(self) -> bool:
        """Whether the input has no time axis."""
        return self.n_steps is None


class Batch(TypedDict):
    """One batch: input [B, T, ...] (static: [B, ...]), target [B] or [B, 1, H, W], index [B].

    `index` is the position in the split's dataset, so that a task can look up what else it knows
    of an item (its recording, its time, its flow).
    """

    input: Tensor
    target: Tensor
    index: Tensor


@dataclass(frozen=True)
class Predictions:
    """What a run predicted for one split: scores [N, K], target [N], index [N] (dataset order)."""

    scores: Tensor
    target: Tensor
    index: Tensor


class ArrayDataset(Dataset[Batch]):
    """Items held in memory (or memory-mapped), collated by slicing: no per-item Python work.

    `transform` maps the input and target of a whole batch, e.g. to augment or to cast.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        if len(inputs) != len(targets):
            raise DataError(f"{len(inputs)} inputs but {len(targets)} targets")
        self.inputs, self.targets, self.transform = inputs, targets, transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> Batch:
        batch = self.__getitems__([i])
        return Batch(input=batch["input"][0], target=batch["target"][0], index=batch["index"][0])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        x, y = self.inputs[index], self.targets[index]
        if self.transform is not None:
            x, y = self.transform(x, y)
        return Batch(input=x, target=y, index=index)


def collate(batch: Batch | list[Batch]) -> Batch:
    """Pass on what `__getitems__` collated; stack items of datasets that have none."""
    if isinstance(batch, dict):
        return batch
    return torch.utils.data.default_collate(batch)


class SharedBatches(Sampler[list[int]]):
    """Process `rank`'s share of each batch of `batch_size` items over all `world` processes.

    `sampler` must give every process the same order (no shuffle of its own: `EpochSeed` sees to
    that). Batch k of a run of many processes then holds the items of batch k of one process:

        share(r) = batch[floor(m r / world) : floor(m (r + 1) / world)],  m = len(batch)        (1)

    Sizes of shares differ by one item at most, no item is seen twice and none is left out; all
    processes make the same number of steps. For that a last batch of fewer items than processes
    joins the one before it. (torch's DistributedSampler repeats items until the shares are equal,
    so that a test over it counts some items twice.)

    Raises DataError where a split has fewer items than there are processes.
    """

    def __init__(
        self, sampler: Sampler[int], batch_size: int, drop_last: bool, rank: int, world: int
    ) -> None:
        #: Lightning tells this one the epoch
        self.sampler = sampler
        self.rank, self.world = rank, world
        size = len(sampler)  # type: ignore[arg-type] # every sampler in use here has a length
        if min(size, batch_size) < world:
            raise DataError(
                f"{world} processes cannot share batches of {batch_size} out of {size} items: each "
                "needs an item of every batch. Give a larger task.batch_size (it counts the items "
                "of all processes) or fewer trainer.devices"
            )
        self.edges = [*range(0, size, batch_size), size]
        tail = size % batch_size
        if (drop_last and tail) or 0 < tail < world:
            del self.edges[-1 if drop_last else -2]

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        for start, end in pairwise(self.edges):
            m = end - start
            first, last = m * self.rank // self.world, m * (self.rank + 1) // self.world
            yield order[start + first : start + last]

    def __len__(self) -> int:
        return len(self.edges) - 1


@dataclass
class TaskReport:
    """Facts of the data for result.json and the closing summary.

    `notes` are counted, documented skips and conversions; `real_data` says how to get the real
    data; `excerpt` says what part of the real data set was there, if not all of it; `caution` what
    a reader of any figure has to know. `fold` of `folds` (from 0) is what was held out, where the
    protocol leaves each part out in turn.
    """

    variant: Literal["sample", "real"]
    source: str
    sizes: dict[str, int]
    notes: dict[str, int | float | str] = field(default_factory=dict)
    real_data: str = ""
    excerpt: str = ""
    caution: str = ""
    fold: int | None = None
    folds: int | None = None


@dataclass(frozen=True)
class Part:
    """What of a file is asked for: seconds from its beginning, and one of its inputs by number."""

    start: float | None = None
    stop: float | None = None
    index: int | None = None


@dataclass(frozen=True)
class FileInput:
    """One model input made of a file, [T, ...] (static: [...]).

    `name` tells it from the others of the file: a window's time, a flow. `truth` is a depth map
    [1, H, W] where the file holds one; `notes` say what was converted.
    """

    name: str
    input: Tensor
    truth: Tensor | None = None
    notes: tuple[str, ...] = ()


class TaskDataModule(L.LightningDataModule):
    """Base of all tasks.

    A subclass prepares files in `prepare_data` (download, sample, feature cache: one process),
    fills `datasets` and `_spec` in `setup`, and may override the hooks at the end. One that can
    make inputs of single files names their `suffixes` and overrides `inputs_of`.

    `batch_size` counts the items of a step over all processes of a run (`share`).
    """

    #: endings of the files that `read_input` takes, in lower case; none: it takes no files
    suffixes: tuple[str, ...] = ()
    #: whether `Part.start` and `Part.stop` mean something in these files
    cuts_time: bool = False
    #: whether `inputs_of` itself picks `Part.index`, because making the others would cost
    picks_index: ClassVar[bool] = False

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
    ) -> None:
        super().__init__()
        self.data, self.batch_size, self.num_workers = data, batch_size, num_workers
        self.data_dir, self.cache_dir = Path(data_dir), Path(cache_dir)
        self.datasets: dict[Split, Dataset[Batch]] = {}
        self._spec: TaskSpec | None = None
        self.rank, self.world = 0, 1

    def share(self, rank: int, world: int) -> None:
        """Say, after `setup`, that loaders are for process `rank` of `world`: its share of batches.

        Raises DataError where a split has fewer items than there are processes.
        """
        self.rank, self.world = rank, world
        if world > 1:
            for split in self.datasets:
                self.loader(split)

    @property
    def spec(self) -> TaskSpec:
        """The task's facts; known after `setup`."""
        if self._spec is None:
            raise RuntimeError(f"{type(self).__name__}.spec is read before setup()")
        return self._spec

    def loader(
        self,
        split: Split,
        *,
        shuffle: bool = False,
        sampler: Sampler[int] | None = None,
        drop_last: bool = False,
    ) -> DataLoader[Batch]:
        """Return the loader of one split; every batch is a `Batch`.

        Of several processes each gets its share of every batch: see `SharedBatches`.
        """
        dataset = self.datasets[split]
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "shuffle": shuffle,
            "sampler": sampler,
            "drop_last": drop_last,
        }
        if self.world > 1:
            if sampler is None:
                sized = cast(Sized, dataset)
                sampler = RandomSampler(sized) if shuffle else SequentialSampler(sized)
            share = SharedBatches(sampler, self.batch_size, drop_last, self.rank, self.world)
            options = {"batch_sampler": share}
        return DataLoader(
            dataset,
            **options,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training batches."""
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches in dataset order."""
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches in dataset order."""
        return self.loader("test")

    def report(self) -> TaskReport:
        """Say what the data were; subclasses add source, notes and how to get the real data."""
        raise NotImplementedError(f"{type(self).__name__} must implement report()")

    def baselines(self) -> dict[str, float]:
        """Test figures of trivial predictors on the same splits: `chance`, `linear`, ..."""
        return {}

    def extra_metrics(self, split: Split, predictions: Predictions) -> dict[str, float]:
        """Figures only this task knows (event-based detection, derived problems, ...)."""
        return {}

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """Draw this task's own figures into `folder`; return their paths."""
        return []

    def shown(self, predictions: Predictions) -> dict[str, Batch]:
        """Return test items whose spikes are drawn, each the first of a batch; by name.

        The name is the file's after `raster`; one item without a name unless a task has more.
        """
        return {"": next(iter(self.test_dataloader()))}

    def state(self) -> dict[str, Any]:
        """Constants fitted on the training set that prediction on a new file needs."""
        return {}

    def restore(self, spec: TaskSpec, state: dict[str, Any]) -> None:
        """Take up the spec and the `state()` of the run that trained, in place of `setup`."""
        self._spec = spec

    def read_input(self, path: Path, part: Part = Part()) -> list[FileInput]:
        """Return the model inputs of one file, made by the code that made the data set's.

        Needs `setup` or `restore`. Raises DataError: no such file, another kind of file than the
        task's, a damaged one, a part that is not in it.
        """
        if not self.suffixes:
            raise DataError(f"task {self.spec.name} does not read single files; hand in a tensor")
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        if path.suffix.lower() not in self.suffixes:
            known = ", ".join(s or "files without an ending" for s in self.suffixes)
            raise DataError(
                f"{path}: the task of this run, {self.spec.name}, reads {known}, "
                f"not {path.suffix or 'files without an ending'}"
            )
        if not self.cuts_time and (part.start, part.stop) != (None, None):
            raise DataError(f"{path}: start and stop serve recordings, not the files of this task")
        if None not in (part.start, part.stop) and part.start >= part.stop:  # type: ignore[operator]
            raise DataError(f"start={part.start} must lie before stop={part.stop} (seconds)")
        found = self.inputs_of(path, part)
        if part.index is None or self.picks_index:
            return found
        if not 0 <= part.index < len(found):
            raise DataError(f"{path} gives inputs 0 to {len(found) - 1}; asked for {part.index}")
        return [found[part.index]]

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Make the inputs of an existing file of one of the `suffixes`."""
        raise NotImplementedError(f"{type(self).__name__} names suffixes but has no inputs_of()")
