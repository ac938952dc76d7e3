"""Figures of the seizure tasks: EEG, annotation and detector's output on one time axis.

Letters: C channels, T samples, N windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snnexp.metrics.detection import Alarm, Interval

Float32 = NDArray[np.float32]

_MAX_CHANNELS = 12
_MAX_POINTS = 6000
_LONGEST = 300.0  # seconds


def draw_detection(
    path: Path,
    title: str,
    eeg: Float32,
    rate: float,
    channels: Sequence[str],
    seizures: Sequence[Interval],
    time: NDArray[np.float64],
    scores: NDArray[np.float64],
    threshold: float,
    raised: Sequence[Alarm],
) -> Path:
    """Draw EEG [C, T], annotated seizures (shaded), the detector's score and its alarms.

    `time`, `scores` [N] hold when each window ends and its score; gaps in time break the line. Of a
    long recording a part is drawn: around its first seizure, or its beginning.
    """
    seconds = eeg.shape[1] / rate
    first = seizures[0][0] - _LONGEST / 3 if seizures else 0.0
    begin = float(np.clip(first, 0, max(0.0, seconds - _LONGEST)))
    end = min(seconds, begin + _LONGEST)
    figure = Figure(figsize=(14, 8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _traces(top, eeg[:, round(begin * rate) : round(end * rate)], rate, begin, channels)
    for axes in (top, bottom):
        for onset, offset in seizures:
            axes.axvspan(onset, offset, color="tab:red", alpha=0.15, lw=0)
    gap = np.diff(time)
    breaks = np.flatnonzero(gap > 3 * np.median(gap)) + 1 if len(gap) else np.zeros(0, np.int64)
    bottom.plot(
        np.insert(time, breaks, np.nan), np.insert(scores, breaks, np.nan), lw=1, color="tab:blue"
    )
    bottom.axhline(threshold, color="0.5", lw=0.8, ls="--")
    for alarm in raised:
        bottom.plot([alarm.start, alarm.end], [1.06, 1.06], lw=4, color="tab:orange")
        bottom.plot([alarm.raised], [1.06], marker="v", color="black", ms=5)
    bottom.set(ylim=(-0.05, 1.15), xlabel="time (s)", ylabel="P(seizure)")
    top.set_xlim(begin, end)
    top.set_title(f"{title}; red: annotated seizure, orange: alarm, triangle: raised", loc="left")
    figure.savefig(path, dpi=110)
    return path


def _traces(axes: Axes, eeg: Float32, rate: float, begin: float, channels: Sequence[str]) -> None:
    """Draw channels below each other, thinned to their extremes so that no spike is lost."""
    shown = np.linspace(0, len(eeg) - 1, min(len(eeg), _MAX_CHANNELS)).round().astype(int)
    every = max(1, eeg.shape[1] // (_MAX_POINTS // 2))
    whole = eeg[shown, : eeg.shape[1] // every * every].reshape(len(shown), -1, every)
    thin = np.stack([whole.min(-1), whole.max(-1)], -1).reshape(len(shown), -1)
    time = begin + np.arange(thin.shape[1]) * every / 2 / rate
    spread = 8 * float(np.median(eeg[shown].std(1))) or 1.0
    for place, trace in enumerate(thin):
        shown_trace = np.clip((trace - np.median(trace)) / spread, -1, 1)
        axes.plot(time, shown_trace - place, lw=0.4, color="0.2")
    axes.set_yticks(-np.arange(len(shown)), [channels[c] for c in shown])
    axes.set_ylim(-len(shown), 1)


def draw_segments(
    path: Path,
    title: str,
    segments: Sequence[tuple[str, Float32]],
    rate: float,
    scores: Sequence[tuple[str, NDArray[np.float64]]],
) -> Path:
    """Draw one segment [T] of each set, and the distribution of the detector's score in each."""
    figure = Figure(figsize=(14, 8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    spread = 8 * float(np.median([trace.std() for _, trace in segments])) or 1.0
    for place, (_, trace) in enumerate(segments):
        left.plot(np.arange(len(trace)) / rate, trace / spread - place, lw=0.5, color="0.2")
    left.set_yticks(-np.arange(len(segments)), [name for name, _ in segments])
    left.set(xlabel="time (s)")
    left.set_title(title, loc="left")
    rng = np.random.default_rng(0)
    for place, (_, values) in enumerate(scores):
        jitter = rng.uniform(-0.25, 0.25, len(values))
        right.scatter(values, jitter - place, s=10, alpha=0.6)
    right.set_yticks(-np.arange(len(scores)), [name for name, _ in scores])
    right.set(xlabel="P(seizure)", xlim=(-0.03, 1.03))
    figure.savefig(path, dpi=110)
    return path
