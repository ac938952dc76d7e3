"""The table of labelled windows that readers fill and protocols split.

Letters: N windows, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class WindowTable:
    """What is known of N windows, one entry a window in each column.

    `group` is the unit no honest protocol divides (a seizure, a block of interictal clips, a
    recording, a segment); `eventful` whether that unit holds a seizure. `source` names the file,
    `number` the clip or segment, `start` and `end` are seconds of the recording (for ictal clips:
    of the seizure, NaN where unknown). `label` is the position in the task's classes.
    """

    patient: NDArray[np.str_]
    group: NDArray[np.str_]
    source: NDArray[np.str_]
    number: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    label: NDArray[np.int64]
    eventful: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def stack(cls, tables: Iterable[WindowTable]) -> WindowTable:
        """Join tables, in order."""
        parts = list(tables)
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )

    def take(self, rows: NDArray[np.int64]) -> WindowTable:
        """Return the table of some rows."""
        return WindowTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def save(self, path: Path) -> None:
        """Write the table as .npz."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> WindowTable:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class Block:
    """Equally long windows of one file: signals [N, C, T] in the file's unit, with their rows."""

    signals: Float32
    rate: float
    rows: WindowTable
