"""The three sources of EEG behind one interface: what to read, how to group, judge and draw it.

Letters: N windows, C channels, T samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from snnexp.metrics.detection import EventCounts, EventRule, alarms, count_events, window_figures
from tasks.seizure import bonn, clips, edf, recordings, summary
from tasks.seizure.edf import Montage
from tasks.seizure.figures import draw_detection, draw_segments
from tasks.seizure.sample import ClipSample, RecordingSample, SegmentSample
from tasks.seizure.store import Read
from tasks.seizure.windows import Block, WindowTable

Float64 = NDArray[np.float64]


class SampleWriter(Protocol):
    """What writes a sample in a source's layout (a frozen dataclass of its size)."""

    def write(self, folder: Path) -> None:
        """Write the sample into an empty folder."""


@dataclass(frozen=True)
class Judged:
    """One split as a detector saw it: rows of the table and P(class) [N, K], in dataset order.

    `scores` [N] is the probability of the class that means seizure.
    `linear` is the baseline's P(seizure), of the test split only; `root` the folder of the files;
    `facts` what the source kept beside the features.
    """

    split: str
    root: Path
    table: WindowTable
    probabilities: Float64
    scores: Float64
    linear: Float64 | None
    facts: Mapping[str, Any]


class Source(ABC):
    """One kind of EEG files. `positive` is the class that means seizure.

    `caution` is what a reader of any figure on the real data has to know.
    """

    name: ClassVar[str]
    item: ClassVar[str]
    title: ClassVar[str]
    real_data: ClassVar[str]
    readers: ClassVar[tuple[ModuleType, ...]]
    suffixes: ClassVar[tuple[str, ...]]
    cuts_time: ClassVar[bool] = True
    classes: tuple[str, ...] = ("interictal", "ictal")
    positive: int = 1
    caution: ClassVar[str] = ""
    sample: SampleWriter

    @abstractmethod
    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the official files below data_dir, or raise DataError."""

    @abstractmethod
    def key(self) -> dict[str, Any]:
        """Return the config values that decide what is read: part of the cache's key."""

    @abstractmethod
    def plan(
        self, root: Path, skip_bad: bool, notes: dict[str, int]
    ) -> tuple[dict[str, Read], dict[str, Any]]:
        """List what to read (name -> reader) and facts to keep; count in notes what is left out."""

    @abstractmethod
    def read_file(self, path: Path, facts: Mapping[str, Any]) -> Block:
        """Read one file of any place as windows; labels and groups mean nothing there."""

    def regroup(self, table: WindowTable, known: bool) -> WindowTable:
        """Return the table with its groups; where not `known`, unknown ones are allowed."""
        return table

    def excerpt(self, table: WindowTable) -> str:
        """Say which part of the official files `table` holds, where not all and that is known."""
        return ""

    def metrics(self, judged: Judged) -> dict[str, float]:
        """Return figures of the detector."""
        return window_figures(judged.table.label == self.positive, judged.scores, 0.5)

    @abstractmethod
    def figures(self, judged: Judged, folder: Path) -> list[Path]:
        """Draw the detector at work."""


class ClipSource(Source):
    """One-second clips of the UPenn and Mayo Clinic detection contest.

    `patients`: null takes all; `rate` in Hz resamples (null: as recorded); `seizure_starts` maps a
    patient to the numbers of each seizure's first clip, where the files carry no latency.
    """

    name = "seizure"
    item = "clip"
    title = "the UPenn and Mayo Clinic seizure detection clips"
    real_data = clips.REAL_DATA
    readers = (clips,)
    suffixes = (".mat",)
    cuts_time = False

    def __init__(
        self,
        *,
        patients: Sequence[str] | None,
        rate: float | None,
        seizure_starts: Mapping[str, Sequence[int]] | None,
        sample: ClipSample,
    ) -> None:
        self.patients, self.rate, self.sample = patients, rate, sample
        self.seizure_starts = seizure_starts

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the patients' folders."""
        return clips.find_root(data_dir)

    def key(self) -> dict[str, Any]:
        """Return which patients, at which rate."""
        return {"patients": self.patients and list(self.patients), "rate": self.rate}

    def plan(
        self, root: Path, skip_bad: bool, notes: dict[str, int]
    ) -> tuple[dict[str, Read], dict[str, Any]]:
        """One block a clip."""
        files = [f for own in clips.list_clips(root, self.patients, notes).values() for f in own]
        return {str(f.path): partial(clips.load_clip, f, self.rate) for f in files}, {}

    def read_file(self, path: Path, facts: Mapping[str, Any]) -> Block:
        """One window, the clip."""
        return clips.load_clip(clips.ClipFile(path, "", False, 0), self.rate)

    def regroup(self, table: WindowTable, known: bool) -> WindowTable:
        """Group clips by seizure and by interictal run."""
        return clips.group_clips(table, self.seizure_starts, known)

    def figures(self, judged: Judged, folder: Path) -> list[Path]:
        """Draw the split's longest seizure after an interictal run, with each clip's score."""
        table = judged.table
        seizures, sizes = np.unique(table.group[table.eventful], return_counts=True)
        longest = str(seizures[sizes.argmax()])
        patient = str(table.patient[table.group == longest][0])
        quiet = np.unique(table.group[(table.patient == patient) & ~table.eventful])[:1]
        rows = [np.flatnonzero(table.group == group) for group in (*quiet, longest)]
        order = np.concatenate([r[np.argsort(table.number[r])] for r in rows])
        shown = [clips.read_clip(judged.root / patient / name) for name in table.source[order]]
        ends = np.cumsum([clip.data.shape[1] / clip.rate for clip in shown])
        onset = float(ends[len(rows[0]) - 1]) if len(quiet) else 0.0
        return [
            draw_detection(
                folder / f"{judged.split}_seizure.png",
                f"{longest}: {judged.split} clips in order, after an interictal run",
                np.concatenate([clip.data for clip in shown], 1),
                shown[0].rate,
                [c or f"channel {k + 1}" for k, c in enumerate(shown[0].channels)],
                [(onset, float(ends[-1]))],
                ends,
                judged.scores[order],
                0.5,
                [],
            )
        ]


class RecordingSource(Source):
    """Continuous recordings in the CHB-MIT layout.

    Windows of `window` seconds every `step` seconds, ictal where at least `ictal_overlap` of them
    lies within an annotated seizure. `annotations` come from the summary files or from the EDF+
    files themselves. `events` says how scores become alarms.
    """

    name = "seizure_chbmit"
    item = "window"
    title = "continuous EEG in the CHB-MIT layout"
    real_data = recordings.REAL_DATA
    readers = (recordings, edf, summary)
    suffixes = (".edf",)

    def __init__(
        self,
        *,
        patients: Sequence[str] | None,
        annotations: Literal["summary", "edf"],
        montage: Montage,
        window: float,
        step: float,
        ictal_overlap: float,
        events: EventRule,
        sample: RecordingSample,
    ) -> None:
        self.patients, self.annotations, self.montage = patients, annotations, montage
        self.window, self.step, self.ictal_overlap = window, step, ictal_overlap
        self.events, self.sample = events, sample

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the cases' folders."""
        return recordings.find_root(data_dir)

    def key(self) -> dict[str, Any]:
        """Return patients, montage and windows."""
        return {
            "patients": self.patients and list(self.patients),
            "annotations": self.annotations,
            "montage": plain(asdict(self.montage)),
            "windows": [self.window, self.step, self.ictal_overlap],
        }

    def plan(
        self, root: Path, skip_bad: bool, notes: dict[str, int]
    ) -> tuple[dict[str, Read], dict[str, Any]]:
        """One block a recording."""
        listed = recordings.list_recordings(root, self.patients, self.annotations, skip_bad, notes)
        channels = self.montage.channels
        if channels is None:
            channels = edf.shared_channels({r.path: r.header for r in listed})
        cut = partial(self._cut, channels=list(channels))
        facts = {
            "channels": list(channels),
            "recordings": {
                r.name: {
                    "path": str(r.path.relative_to(root)),
                    "seconds": r.header.duration,
                    "seizures": [list(s) for s in r.seizures],
                }
                for r in listed
            },
        }
        return {str(r.path): partial(cut, r) for r in listed}, facts

    def _cut(self, recording: recordings.Recording, channels: Sequence[str]) -> Block:
        return recordings.cut(
            recording,
            channels=channels,
            montage=self.montage,
            window=self.window,
            step=self.step,
            ictal_overlap=self.ictal_overlap,
        )

    def read_file(self, path: Path, facts: Mapping[str, Any]) -> Block:
        """All windows of a recording, of the channels the run was trained on."""
        recording = recordings.Recording(path, "", edf.read_header(path), ())
        return self._cut(recording, facts["channels"])

    def metrics(self, judged: Judged) -> dict[str, float]:
        """Return window figures, event figures, and the linear baseline's event figures."""
        found = super().metrics(judged) | self._events(judged, judged.scores).figures()
        if judged.linear is not None:
            own = self._events(judged, judged.linear).figures()
            wanted = ("event_sensitivity", "false_alarms_per_hour", "latency_mean")
            found |= {f"linear_{name}": own[name] for name in wanted if name in own}
        return found

    def _events(self, judged: Judged, scores: Float64) -> EventCounts:
        counts = EventCounts()
        for name in np.unique(judged.table.source):
            rows = np.flatnonzero(judged.table.source == name)
            here = judged.table.take(rows)
            facts = judged.facts["recordings"][name]
            seizures = [(start, end) for start, end in facts["seizures"]]
            raised = alarms(here.start, here.end, scores[rows], self.events)
            counts += count_events(seizures, raised, facts["seconds"], self.events)
        return counts

    def figures(self, judged: Judged, folder: Path) -> list[Path]:
        """Draw one recording of the split, one with a seizure if there is any."""
        table, facts = judged.table, judged.facts
        eventful = np.unique(table.source[table.eventful])
        name = str((eventful if len(eventful) else np.unique(table.source))[0])
        rows = np.flatnonzero(table.source == name)
        here, about = table.take(rows), facts["recordings"][name]
        raised = alarms(here.start, here.end, judged.scores[rows], self.events)
        eeg, rate = edf.read_signals(judged.root / about["path"], facts["channels"], self.montage)
        return [
            draw_detection(
                folder / f"{judged.split}_recording.png",
                f"{name} ({judged.split})",
                eeg,
                rate,
                facts["channels"],
                [(start, end) for start, end in about["seizures"]],
                here.end,
                judged.scores[rows],
                self.events.threshold,
                raised,
            )
        ]


class SegmentSource(Source):
    """Single-channel segments of the Bonn sets A-E.

    `problem` = e_vs_rest: A-D against E; five_sets: the five sets. `windows` cuts each segment into
    that many equal parts; a segment stays in one split. Subjects are
    unknown: the set stands in the patient's place.
    """

    name = "seizure_bonn"
    item = "window"
    title = "the Bonn EEG sets A-E"
    real_data = bonn.REAL_DATA
    readers = (bonn,)
    caution = "subjects are unknown: segments of one person lie in training and test"
    suffixes = (".txt",)

    def __init__(
        self, *, problem: Literal["e_vs_rest", "five_sets"], windows: int, sample: SegmentSample
    ) -> None:
        self.problem, self.windows, self.sample = problem, windows, sample
        if problem == "five_sets":
            self.classes, self.positive = tuple(bonn.SETS.values()), 4
        else:
            self.classes, self.positive = ("A-D", "E"), 1

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the archives or text files."""
        return bonn.find_root(data_dir)

    def key(self) -> dict[str, Any]:
        """Return how segments are cut."""
        return {"windows": self.windows}

    def plan(
        self, root: Path, skip_bad: bool, notes: dict[str, int]
    ) -> tuple[dict[str, Read], dict[str, Any]]:
        """One block a segment."""
        segments = bonn.list_segments(root)
        return {s.path: partial(self._cut, s) for s in segments}, {}

    def _cut(self, segment: bonn.Segment) -> Block:
        data = bonn.read_segment(segment)
        n, length = self.windows, len(data) // self.windows
        sets = list(bonn.SETS.values())
        start = np.arange(n) * length / bonn.RATE
        name = f"{segment.set}{segment.number:03d}"
        rows = WindowTable(
            patient=np.full(n, f"set {segment.set}"),
            group=np.full(n, name),
            source=np.full(n, name),
            number=np.full(n, segment.number),
            start=start,
            end=start + length / bonn.RATE,
            label=np.full(n, sets.index(segment.set)),
            eventful=np.full(n, segment.set == "E"),
        )
        return Block(data[: n * length].reshape(n, 1, length), bonn.RATE, rows)

    def read_file(self, path: Path, facts: Mapping[str, Any]) -> Block:
        """The windows of a segment."""
        return self._cut(bonn.Segment("A", 0, str(path), None))

    def regroup(self, table: WindowTable, known: bool) -> WindowTable:
        """Return the table with the labels of the problem."""
        if self.problem == "five_sets":
            return table
        return replace(table, label=table.eventful.astype(np.int64))

    def excerpt(self, table: WindowTable) -> str:
        """Say how many of the 500 segments there are."""
        n = len(np.unique(table.source))
        return "" if n == bonn.SEGMENTS else f"{n} of {bonn.SEGMENTS} segments"

    def metrics(self, judged: Judged) -> dict[str, float]:
        """Return figures of E against the rest by window, and accuracy by segment.

        A segment is given the class its windows together find most probable.
        """
        found = super().metrics(judged)
        if self.problem == "five_sets":
            found = {f"e_{name}": value for name, value in found.items()}
        _, first, place = np.unique(judged.table.group, return_index=True, return_inverse=True)
        total = np.zeros((len(first), len(self.classes)))
        np.add.at(total, place, judged.probabilities)
        truth = judged.table.label[first]
        return {**found, "segment_acc": float((total.argmax(1) == truth).mean())}

    def figures(self, judged: Judged, folder: Path) -> list[Path]:
        """Draw the first segment of each set in the split, and the scores of all."""
        by_name = {f"{s.set}{s.number:03d}": s for s in bonn.list_segments(judged.root)}
        shown, scores = [], []
        for letter in bonn.SETS.values():
            rows = np.flatnonzero(np.char.startswith(judged.table.group, letter))
            if len(rows):
                name = str(judged.table.group[rows[0]])
                shown.append((name, bonn.read_segment(by_name[name])))
                scores.append((letter, judged.scores[rows]))
        path = folder / f"{judged.split}_segments.png"
        return [draw_segments(path, f"Bonn sets, {judged.split}", shown, bonn.RATE, scores)]


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return config values as JSON knows them (lists, dicts and numbers)."""

    def simple(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): simple(v) for k, v in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [simple(v) for v in value]
        return value

    return {k: simple(v) for k, v in values.items()}
