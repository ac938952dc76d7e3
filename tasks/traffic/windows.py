"""Windows of flows, as Rasteh et al. 2022 cut them.

Letters: N packets, F flows, W windows.

A window is 60 s of a flow, one starts every 15 s. It is kept where each direction that the flow
has at all brings at least 10 packets, the first and last of which lie at least 40 s apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from tasks.traffic.flows import Flows

Clock = Literal["direction", "flow"]


@dataclass(frozen=True, kw_only=True)
class WindowRule:
    """How flows are cut.

    `clock`: time counts from the first packet of each direction (direction; what the authors'
    source rows hold) or from the first packet of the flow (flow; when packets of both directions
    truly coincide). `max_per_flow` bounds what one flow that never ends may give.
    """

    length: float
    stride: float
    min_packets: int
    min_span: float
    clock: Clock
    max_per_flow: int


@dataclass(frozen=True)
class Windows:
    """W windows, cut from flows whose packets are kept once.

    `time` [N] is in seconds on the clock of the rule, `size` [N] in bytes. Direction d of window w
    is the packets `[bounds[w, d, 0], bounds[w, d, 1])`; a flow of one direction has none of
    direction 1. `flow` [W] is the position of the flow, `start` [W] the window's start on the
    clock.
    """

    time: np.ndarray
    size: np.ndarray
    bounds: np.ndarray
    flow: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.flow)


@dataclass(frozen=True)
class CutCounts:
    """How many windows were tried, and how many of them were dropped, by reason."""

    tried: int
    too_few_packets: int
    too_short: int
    beyond_limit: int


def cut(flows: Flows, rule: WindowRule) -> tuple[Windows, CutCounts]:
    """Cut all flows; packets of flows without a window are left out."""
    if not np.isfinite(flows.time).all():
        raise ValueError("a flow has packets without a finite time")
    time = _on_clock(flows, rule.clock)
    n_tried, over = _tries(flows, time, rule)
    flow = np.repeat(np.arange(len(flows)), n_tried)
    number = np.arange(len(flow)) - np.repeat(np.cumsum(n_tried) - n_tried, n_tried)
    start = number * rule.stride
    bounds = np.zeros((len(flow), 2, 2), np.int64)
    verdict = np.zeros(len(flow), np.uint8)
    _cut(
        time,
        flows.first,
        flow,
        start,
        rule.length,
        rule.min_packets,
        rule.min_span,
        bounds,
        verdict,
    )
    good = verdict == 0
    counts = CutCounts(len(flow), int((verdict == 1).sum()), int((verdict == 2).sum()), int(over))
    return _compact(flows, time, flow[good], start[good], bounds[good]), counts


def _on_clock(flows: Flows, clock: Clock) -> np.ndarray:
    first = np.append(flows.first[:-1].ravel(), flows.first[-1, 0])
    counts = np.diff(first).reshape(-1, 2)
    opening = np.full(counts.shape, np.inf)
    opening[counts > 0] = flows.time[first[:-1].reshape(-1, 2)[counts > 0]]
    if clock == "flow":
        opening[:] = opening.min(1, keepdims=True)
    # the authors' rows carry microseconds; this also takes off what float64 adds to a long epoch
    return np.round(flows.time - np.repeat(opening.ravel(), counts.ravel()), 6)


def _tries(flows: Flows, time: np.ndarray, rule: WindowRule) -> tuple[np.ndarray, int]:
    """Return how many windows each flow is tried for, and how many the limit took away.

    One starts every `stride` as long as it ends within the flow; a flow shorter than a window by
    less than a stride is tried once.
    """
    if not len(flows):
        return np.zeros(0, np.int64), 0
    end = np.maximum.reduceat(time, flows.first[:-1, 0])
    tries = np.trunc((end - rule.length) / rule.stride).astype(np.int64) + 1
    tries[end <= rule.length - rule.stride] = 0
    kept = np.minimum(tries, rule.max_per_flow)
    return kept, int((tries - kept).sum())


@njit(cache=True)
def _cut(time, first, flow, start, length, min_packets, min_span, bounds, verdict):
    for w in range(len(flow)):
        f = flow[w]
        for d in range(2):
            low = first[f, d]
            high = first[f, 1] if d == 0 else first[f + 1, 0]
            if low == high:
                bounds[w, d, 0] = bounds[w, d, 1] = low
                continue
            # both ends belong to the window, as in the authors' code
            a = low + np.searchsorted(time[low:high], start[w], side="left")
            b = low + np.searchsorted(time[low:high], start[w] + length, side="right")
            bounds[w, d, 0], bounds[w, d, 1] = a, b
            if b - a < min_packets:
                verdict[w] = 1
            elif time[b - 1] - time[a] < min_span and verdict[w] == 0:
                verdict[w] = 2


def _compact(
    flows: Flows, time: np.ndarray, flow: np.ndarray, start: np.ndarray, bounds: np.ndarray
) -> Windows:
    """Keep the packets of flows that gave a window."""
    used = np.zeros(len(flows), np.bool_)
    used[flow] = True
    keep = np.repeat(used, np.diff(flows.first[:, 0]))
    dropped_before = np.append(0, np.cumsum(~keep))
    return Windows(time[keep], flows.size[keep], bounds - dropped_before[bounds], flow, start)
