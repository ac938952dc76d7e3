"""Figures of a detector: per window, and per event as seizure detectors are judged.

Letters: N windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Interval = tuple[float, float]


def roc_auc(truth: NDArray[np.bool_], scores: NDArray[Any]) -> float | None:
    """Return the area under the ROC curve, None where only one class is present.

    (1) AUC = (R - n1 (n1 + 1) / 2) / (n1 n0), R the sum of the positives' ranks, ties shared
    (Hanley, McNeil, Radiology 143:29, 1982).
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return None
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def window_figures(
    truth: NDArray[np.bool_], scores: NDArray[Any], threshold: float
) -> dict[str, float]:
    """Return what a detector that says yes where `scores` > threshold achieves, window by window.

    `sensitivity`, `specificity`, `precision`, `balanced_acc` (mean of the first two), `auc`.
    A figure without a denominator (no positive window, no alarm, ...) is left out.
    """
    said = scores > threshold
    hits = int((said & truth).sum())
    ratios = {
        "sensitivity": (hits, int(truth.sum())),
        "specificity": (int((~said & ~truth).sum()), int((~truth).sum())),
        "precision": (hits, int(said.sum())),
    }
    figures = {name: a / b for name, (a, b) in ratios.items() if b}
    if "sensitivity" in figures and "specificity" in figures:
        figures["balanced_acc"] = (figures["sensitivity"] + figures["specificity"]) / 2
    auc = roc_auc(truth, scores)
    return figures if auc is None else {**figures, "auc": auc}


@dataclass(frozen=True, kw_only=True)
class EventRule:
    """How window scores become alarms and how alarms meet annotated events; all in seconds.

    `threshold` on the score averaged over the last `smoothing` windows (causal); alarms less than
    `merge_gap` apart are one, those shorter than `min_duration` are dropped and those longer than
    `max_duration` are cut. An alarm within `before` of an event's onset or `after` its end belongs
    to it. SzCORE (Dan et al., Epilepsia 2024) scores with merge_gap 90, max_duration 300,
    before 30, after 60.
    """

    threshold: float
    smoothing: int
    merge_gap: float
    min_duration: float
    max_duration: float
    before: float
    after: float


def smooth(scores: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Return the mean of each score and the `width` - 1 before it (fewer at the start)."""
    total = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
    end = np.arange(1, len(scores) + 1)
    start = np.maximum(0, end - width)
    return (total[end] - total[start]) / (end - start)


@dataclass(frozen=True)
class Alarm:
    """One alarm: the stretch of signal it marks, and when a causal detector raised it (seconds)."""

    start: float
    end: float
    raised: float


def alarms(
    start: NDArray[Any], end: NDArray[Any], scores: NDArray[Any], rule: EventRule
) -> list[Alarm]:
    """Return the alarms that a rule makes of one recording's windows, given in time order.

    `start`, `end` are each window's seconds. An alarm marks the signal from the start of its first
    window to the end of its last; it is raised at the end of the first: no detector knows earlier.
    """
    above = np.flatnonzero(smooth(scores, rule.smoothing) > rule.threshold)
    merged: list[Alarm] = []
    for i in above:
        first = Alarm(float(start[i]), float(end[i]), float(end[i]))
        if merged and first.start - merged[-1].end <= rule.merge_gap:
            merged[-1] = replace(merged[-1], end=first.end)
        else:
            merged.append(first)
    return [
        piece
        for alarm in merged
        if alarm.end - alarm.start >= rule.min_duration
        for piece in _pieces(alarm, rule.max_duration)
    ]


def _pieces(alarm: Alarm, longest: float) -> list[Alarm]:
    count = max(1, int(np.ceil((alarm.end - alarm.start) / longest)))
    edges = [alarm.start + k * longest for k in range(count)] + [alarm.end]
    return [Alarm(a, b, max(a, alarm.raised)) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class EventCounts:
    """What a detector made of some recordings; counts of several recordings add up.

    `latencies` holds, for each detected event, the seconds from its annotated onset until the
    first alarm that belongs to it was raised (negative: before the onset).
    """

    events: int = 0
    detected: int = 0
    alarms: int = 0
    false_alarms: int = 0
    hours: float = 0.0
    latencies: tuple[float, ...] = ()

    def __add__(self, other: EventCounts) -> EventCounts:
        return EventCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def figures(self) -> dict[str, float]:
        """Return event sensitivity, precision and F1, false alarms per hour and latencies.

        `event_precision` is the share of alarms that belong to an event. A figure without a
        denominator is left out.
        """
        figures: dict[str, float] = {"events": float(self.events), "hours": self.hours}
        if self.events:
            figures["event_sensitivity"] = self.detected / self.events
        if self.alarms:
            figures["event_precision"] = 1 - self.false_alarms / self.alarms
        if self.detected:
            a, b = figures["event_sensitivity"], figures["event_precision"]
            figures["event_f1"] = 2 * a * b / (a + b)
            figures["latency_mean"] = float(np.mean(self.latencies))
            figures["latency_median"] = float(np.median(self.latencies))
        if self.hours:
            figures["false_alarms_per_hour"] = self.false_alarms / self.hours
        return figures


def count_events(
    events: Sequence[Interval], raised: Sequence[Alarm], seconds: float, rule: EventRule
) -> EventCounts:
    """Match the alarms of one recording of `seconds` with its annotated events.

    Any overlap counts (SzCORE's and the field's any-overlap rule): an event is detected by an alarm
    that touches it, widened by `rule.before` and `rule.after`; an alarm that touches no widened
    event is false.
    """
    latencies: list[float] = []
    true: set[int] = set()
    for onset, offset in events:
        touching = [
            k
            for k, alarm in enumerate(raised)
            if alarm.start < offset + rule.after and alarm.end > onset - rule.before
        ]
        true.update(touching)
        if touching:
            latencies.append(min(raised[k].raised for k in touching) - onset)
    return EventCounts(
        events=len(events),
        detected=len(latencies),
        alarms=len(raised),
        false_alarms=len(raised) - len(true),
        hours=seconds / 3600,
        latencies=tuple(latencies),
    )
