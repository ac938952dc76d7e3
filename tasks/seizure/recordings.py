"""Continuous recordings in the CHB-MIT layout: listing, seizures, windows and their labels.

Letters: N windows, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError
from tasks.seizure.edf import EdfHeader, Montage, read_annotations, read_header, read_signals
from tasks.seizure.summary import Interval, read_summary
from tasks.seizure.windows import Block, WindowTable

FOLDERS = ("CHB-MIT", "chbmit", "CHB-MIT/1.0.0", "chbmit/1.0.0")
REAL_DATA = (
    "the CHB-MIT Scalp EEG Database, PhysioNet, 42.6 GB, "
    "https://physionet.org/content/chbmit/1.0.0/ (ODC Attribution licence): "
    "wget -r -N -c -np https://physionet.org/files/chbmit/1.0.0/chb01/ for one patient; put it to "
    "<data_dir>/CHB-MIT/chb01/chb01_01.edf, ..., <data_dir>/CHB-MIT/chb01/chb01-summary.txt"
)

#: cases of the collection that are one person (its PhysioNet page)
SAME_PERSON = {"chb21": "chb01"}

#: seconds an annotation may stand past the end: the collection rounds to whole seconds
_ROUNDING = 1.0


@dataclass(frozen=True)
class Recording:
    """One continuous recording and its annotated seizures (start, end in seconds)."""

    path: Path
    patient: str
    header: EdfHeader
    seizures: tuple[Interval, ...]

    @property
    def name(self) -> str:
        """Name of the file without its extension."""
        return self.path.stem


def find_root(data_dir: Path) -> Path:
    """Return the folder that holds the cases' folders; raise DataError with what to fetch."""
    for root in (*(data_dir / name for name in FOLDERS), data_dir):
        if root.is_dir() and any(root.glob("*/*-summary.txt")):
            return root
    raise DataError(
        f"no continuous EEG below data_dir={data_dir}: expected <case>/<case>-summary.txt and "
        f"<case>/*.edf there or in {FOLDERS[0]}/. Needed is {REAL_DATA}"
    )


def list_recordings(
    root: Path,
    patients: Sequence[str] | None,
    annotations: Literal["summary", "edf"],
    skip_bad: bool,
    notes: dict[str, int],
) -> list[Recording]:
    """List the recordings of the cases with their seizures.

    Files a summary names but the folder lacks, and EDF files no summary names (unlabelled), are
    left out and counted in notes; so are unreadable ones and those whose annotations lie outside
    the recording where `skip_bad`; otherwise they raise DataError.
    """
    found = {path.parent.name: path for path in sorted(root.glob("*/*-summary.txt"))}
    missing = [p for p in patients or () if p not in found]
    if missing:
        raise DataError(f"task.source.patients names {missing}, but {root} has {sorted(found)}")
    recordings: list[Recording] = []
    for case in patients or found:
        listed = read_summary(found[case])
        on_disk = {path.name: path for path in sorted(found[case].parent.glob("*.edf"))}
        _count(notes, "recordings missing on disk", sum(name not in on_disk for name in listed))
        _count(notes, "recordings in no summary", sum(name not in listed for name in on_disk))
        for name in listed:
            if name not in on_disk:
                continue
            path = on_disk[name]
            try:
                seizures = listed[name] if annotations == "summary" else read_annotations(path)
                header = read_header(path)
                kept = _inside(path, seizures, header.duration)
            except DataError:
                if not skip_bad:
                    raise
                _count(notes, "bad recordings skipped", 1)
                continue
            recordings.append(Recording(path, SAME_PERSON.get(case, case), header, kept))
    if not recordings:
        raise DataError(f"{root}: none of the recordings named in the summaries can be used")
    return recordings


def _count(notes: dict[str, int], what: str, n: int) -> None:
    if n:
        notes[what] = notes.get(what, 0) + n


def _inside(path: Path, seizures: Sequence[Interval], duration: float) -> tuple[Interval, ...]:
    """Return the seizures, cut at the end by rounding at most."""
    for start, end in seizures:
        if start < 0 or start >= duration or end > duration + _ROUNDING:
            raise DataError(
                f"{path}: annotated seizure {start:g}-{end:g} s lies outside the recording of "
                f"{duration:g} s; correct the summary file or set task.bad_files=skip"
            )
    return tuple((start, min(end, duration)) for start, end in seizures)


def overlap(
    start: NDArray[np.float64], end: NDArray[np.float64], seizures: Sequence[Interval]
) -> NDArray[np.float64]:
    """Return the share of each window that lies within annotated seizures."""
    covered = np.zeros(len(start))
    for onset, offset in seizures:
        covered += np.clip(np.minimum(end, offset) - np.maximum(start, onset), 0, None)
    return covered / (end - start)


def cut(
    recording: Recording,
    channels: Sequence[str],
    montage: Montage,
    window: float,
    step: float,
    ictal_overlap: float,
) -> Block:
    """Read one recording and cut windows of `window` seconds every `step` seconds.

    A window is ictal where at least the share `ictal_overlap` of it lies within a seizure.
    """
    data, rate = read_signals(recording.path, channels, montage)
    length, hop = round(window * rate), round(step * rate)
    if length < 1 or hop < 1 or data.shape[1] < length:
        raise DataError(
            f"{recording.path}: {data.shape[1] / rate:g} s are shorter than a window "
            f"(task.source.window={window:g} s, task.source.step={step:g} s)"
        )
    signals = np.lib.stride_tricks.sliding_window_view(data, length, axis=1)[:, ::hop]
    n = signals.shape[1]
    start = np.arange(n) * hop / rate
    end = start + length / rate
    rows = WindowTable(
        patient=np.full(n, recording.patient),
        group=np.full(n, f"{recording.patient}/{recording.name}"),
        source=np.full(n, recording.name),
        number=np.arange(n),
        start=start,
        end=end,
        label=(overlap(start, end, recording.seizures) >= ictal_overlap).astype(np.int64),
        eventful=np.full(n, bool(recording.seizures)),
    )
    return Block(signals.transpose(1, 0, 2), rate, rows)
