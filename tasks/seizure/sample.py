"""Writers of the sample: simulated patients in the official layouts of the three sources.

Letters: C channels, T samples.
"""

from __future__ import annotations

import datetime
import io
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rich.progress import track
from scipy.io import savemat

from tasks.seizure import bonn
from tasks.seizure.scene import Patient, Seizure, draw_patient, record
from tasks.seizure.summary import Interval, write_summary

Float32 = NDArray[np.float32]
Job = Callable[[], None]

#: states of the segments of sets A-D; E is the middle of a seizure
_SET_SHARES = {
    "A": {"quiet": 1.0},
    "B": {"quiet": 0.35, "alpha": 0.65},
    "C": {"quiet": 0.5, "slow": 0.3, "discharges": 0.1, "run": 0.1},
    "D": {"quiet": 0.15, "slow": 0.15, "discharges": 0.3, "run": 0.4},
    "E": {"quiet": 1.0},
}
#: discharges of the segments run on for longer than those of the recordings: with runs of a
#: second a line length or band power tells E from D almost without fault
_RUN_SECONDS = (1.0, 4.0)
#: scipy's writer keeps a tag in its class: two threads in it write each other's sizes
_SAVING = threading.Lock()
_LEAD = 15.0  # seconds simulated before the first one kept


def _run(jobs: Sequence[Job], what: str) -> None:
    """Run jobs in threads (the simulator holds no lock) under a progress bar."""
    threads = Parallel(
        n_jobs=os.cpu_count() or 1, backend="threading", return_as="generator_unordered"
    )
    for _ in track(threads(delayed(job)() for job in jobs), description=what, total=len(jobs)):
        pass


@dataclass(frozen=True, kw_only=True)
class ClipSample:
    """Size of the clip sample: patient k has `seizures[k]` seizures and `stretches[k]` interictal
    stretches about as long; a seizure lasts between the two values of `seizure_seconds`.

    Patient_3 must reach ictal clip 327 and interictal clip 714, which the authors' ranges name.
    """

    channels: int
    rate: int
    seizures: Sequence[int]
    stretches: Sequence[int]
    seizure_seconds: Sequence[int]
    seed: int

    def write(self, folder: Path) -> None:
        """Write `<Patient>/<Patient>_{ictal,interictal}_segment_<k>.mat` in 0.1 microvolt."""
        jobs: list[Job] = []
        for k, seed in enumerate(np.random.SeedSequence(self.seed).spawn(len(self.seizures))):
            home = folder / f"Patient_{k + 1}"
            home.mkdir()
            first, *others = seed.spawn(1 + self.seizures[k] + self.stretches[k])
            patient, episodes = self.plan(k, np.random.default_rng(first))
            for (ictal, seconds, number), own in zip(episodes, others, strict=True):
                jobs.append(partial(self._episode, home, patient, ictal, seconds, number, own))
        _run(jobs, "seizure sample: clips")

    def plan(self, k: int, rng: np.random.Generator) -> tuple[Patient, list[tuple[bool, int, int]]]:
        """Draw patient k and its episodes: ictal or not, seconds, number of the first clip."""
        patient = draw_patient(rng, self.channels)
        shortest, longest = self.seizure_seconds
        lengths = [int(n) for n in rng.integers(shortest, longest + 1, self.seizures[k])]
        run = max(1, round(sum(lengths) / len(lengths)))
        first = 1 + np.cumsum([0, *lengths[:-1]])
        ictal = [(True, n, int(at)) for n, at in zip(lengths, first, strict=True)]
        return patient, ictal + [(False, run, 1 + s * run) for s in range(self.stretches[k])]

    def _episode(
        self,
        home: Path,
        patient: Patient,
        ictal: bool,
        seconds: int,
        number: int,
        seed: np.random.SeedSequence,
    ) -> None:
        """Simulate one seizure or one stretch without, and write its seconds as clips."""
        rng = np.random.default_rng(seed)
        seizures = [Seizure(_LEAD, _LEAD + seconds)] if ictal else []
        eeg = record(rng, patient, _LEAD + seconds, seizures, self.rate)
        counts = np.round(10 * eeg[:, round(_LEAD * self.rate) :]).astype(np.int16)
        kind = "ictal" if ictal else "interictal"
        names = np.array([f"CH{c + 1}" for c in range(self.channels)], dtype=object)
        for second in range(seconds):
            struct = f"{kind}_segment_{number + second}"
            clip = counts[:, second * self.rate : (second + 1) * self.rate]
            fields = {"data": clip, "freq": float(self.rate), "channels": names}
            if ictal:
                fields["latency"] = float(second)
            write_mat(home / f"{home.name}_{struct}.mat", {struct: fields})


def write_mat(path: Path, variables: dict[str, object]) -> None:
    """Write a MATLAB 5 file whose bytes depend on its content alone."""
    content = io.BytesIO()
    with _SAVING:
        savemat(content, variables)
    # The first 116 bytes are free text, in which scipy puts the date.
    header = b"MATLAB 5.0 MAT-file, simulated EEG".ljust(116)
    path.write_bytes(header + content.getvalue()[116:])


@dataclass(frozen=True, kw_only=True)
class RecordingSample:
    """Size of the continuous sample: `patients` cases with `recordings` files of `minutes` each."""

    patients: int
    recordings: int
    minutes: float
    channels: int
    rate: int
    seed: int

    def write(self, folder: Path) -> None:
        """Write `<case>/<case>_<nn>.edf` (EDF+ with annotations) and `<case>/<case>-summary.txt`.

        Two recordings of three hold a seizure, one case in two has a recording with two. The
        channels are bipolar (neighbouring contacts), with the dummy channel '-' and an ECG that
        the real collection has; each case's last recording lacks them and is ordered differently.
        """
        jobs: list[Job] = []
        for k, seed in enumerate(np.random.SeedSequence(self.seed).spawn(self.patients)):
            case = f"sim{k + 1:02d}"
            (folder / case).mkdir()
            first, *others = seed.spawn(1 + self.recordings)
            rng = np.random.default_rng(first)
            patient = draw_patient(rng, self.channels + 1)
            plan: dict[str, list[Interval]] = {}
            for r, own in enumerate(others):
                name = f"{case}_{r + 1:02d}.edf"
                double = r == 0 and k % 2 == 0
                plan[name] = self._draw_seizures(rng, 0 if r % 3 == 2 else 1 + double)
                last = r == self.recordings - 1
                jobs.append(
                    partial(self._recording, folder / case / name, patient, plan[name], last, own)
                )
            write_summary(folder / case / f"{case}-summary.txt", self.rate, self._labels(), plan)
        _run(jobs, "seizure sample: recordings")

    def _labels(self) -> list[str]:
        return [f"G{c + 1}-G{c + 2}" for c in range(self.channels)]

    def _draw_seizures(self, rng: np.random.Generator, count: int) -> list[Interval]:
        """Draw non-overlapping seizures, each within its own part of the recording."""
        part = self.minutes * 60 / max(count, 1)
        seizures = []
        for k in range(count):
            length = min(float(rng.integers(25, 60)), round(0.4 * part))
            start = float(round(k * part + rng.uniform(10.0, part - length - 10.0)))
            seizures.append((start, start + length))
        return seizures

    def _recording(
        self,
        path: Path,
        patient: Patient,
        seizures: Sequence[Interval],
        last: bool,
        seed: np.random.SeedSequence,
    ) -> None:
        import edfio  # here, not above: only the sample of recordings needs it

        rng = np.random.default_rng(seed)
        seconds = self.minutes * 60
        events = [Seizure(start, end) for start, end in seizures]
        eeg = record(rng, patient, seconds, events, self.rate)
        signals = dict(zip(self._labels(), eeg[:-1] - eeg[1:], strict=True))
        if last:
            signals = dict(reversed(signals.items()))
        else:
            signals["-"] = np.zeros(eeg.shape[1], np.float32)
            signals["ECG"] = _heartbeats(rng, eeg.shape[1], self.rate)
        edfio.Edf(
            [
                edfio.EdfSignal(
                    np.clip(data, -3200, 3200).astype(np.float64),
                    self.rate,
                    label=label,
                    physical_dimension="uV",
                    physical_range=(-3276.8, 3276.7),
                )
                for label, data in signals.items()
            ],
            patient=edfio.Patient(code=path.parent.name),
            recording=edfio.Recording(startdate=datetime.date(2020, 1, 1)),
            starttime=datetime.time(12, 0, 0),
            data_record_duration=1.0,
            annotations=[edfio.EdfAnnotation(s, e - s, "seizure") for s, e in seizures],
        ).write(path)


def _heartbeats(rng: np.random.Generator, samples: int, rate: int) -> Float32:
    beats = np.zeros(samples, np.float32)
    beats[np.cumsum(rng.uniform(0.7, 0.9, int(samples / rate)) * rate).astype(int) % samples] = 800
    return np.convolve(beats, np.hanning(max(3, rate // 16)), "same").astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class SegmentSample:
    """Size of the sample in the layout of the Bonn sets: `segments` per set."""

    segments: int
    seed: int

    def write(self, folder: Path) -> None:
        """Write `<set>_<letter>/<letter><nnn>.txt`, one integer a line; set C as .TXT."""
        jobs: list[Job] = []
        seeds = np.random.SeedSequence(self.seed).spawn(len(bonn.SETS) * self.segments)
        for s, (letter, name) in enumerate(bonn.SETS.items()):
            home = folder / f"{name}_{letter}"
            home.mkdir()
            for k in range(self.segments):
                file = home / f"{letter}{k + 1:03d}.{'TXT' if name == 'C' else 'txt'}"
                jobs.append(partial(self._segment, file, name, seeds[s * self.segments + k]))
        _run(jobs, "seizure sample: segments")

    def _segment(self, path: Path, name: str, seed: np.random.SeedSequence) -> None:
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng, 3)
        seconds = bonn.LENGTH / bonn.RATE
        length = seconds + 25.0
        seizures = [Seizure(5.0, length + 5.0)] if name == "E" else []
        eeg = record(
            rng,
            patient,
            length,
            seizures,
            bonn.RATE,
            shares=_SET_SHARES[name],
            run_seconds=_RUN_SECONDS,
        )
        samples = np.round(eeg[patient.focus, -bonn.LENGTH :]).astype(int)
        path.write_text("\n".join(map(str, samples)) + "\n")
