"""Histograms of windows: packet sizes of both directions over time, as FlowPic and Rasteh et al.

Letters: B windows of a batch, T time bins, S size bins, N packets.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit

TimeAxis = Literal["span", "fixed"]
Unpaired = Literal["dummy", "empty"]

TIME_BINS, SIZE_BINS = 300, 300
#: where the sizes of direction 1 start on the common size axis
SHIFT = 1590


def size_edges() -> np.ndarray:
    """Return the 301 edges of the size axis in bytes (Rasteh et al. 2022, the authors' code).

    Direction 0: 0, then 40 to 89 in steps of 1, 90 to 580 of 10, 590 to 1570 of 20: 151 bins, the
    last up to 1590. Direction 1 is shifted by 1590 and uses the same steps from there, without the
    offset of 40: 149 bins up to 3120.
    """
    one = [0, *range(40, 90), *range(90, 590, 10), *range(590, 1590, 20)]
    two = [*range(0, 50), *range(50, 550, 10), *range(550, 1550, 20)]
    return np.array(one + [SHIFT + edge for edge in two], dtype=np.int64)


def size_bins(edges: np.ndarray) -> np.ndarray:
    """Return the bin of every size up to the last edge, which belongs to the last bin."""
    bins = np.searchsorted(edges, np.arange(edges[-1] + 1), side="right") - 1
    return np.minimum(bins, len(edges) - 2).astype(np.int16)


BINS = size_bins(size_edges())
#: the largest size of each direction that has a bin of its own
LARGEST = (SHIFT - 1, len(BINS) - 1 - SHIFT)


def histograms(
    time: np.ndarray,
    size: np.ndarray,
    bounds: np.ndarray,
    start: np.ndarray,
    *,
    length: float,
    time_axis: TimeAxis,
    unpaired: Unpaired,
) -> np.ndarray:
    """Return packet counts [B, T, S], float32, of windows as `windows.Windows` describes them.

    `time_axis` span: the time bins of a window reach from its first to its last packet (the
    authors); a size that falls off direction 0's part of the axis lands in direction 1's, one that
    falls off the axis is left out. fixed: bins of length / 300 from the window's start, and sizes
    are clipped to the direction's own part. `unpaired` dummy: a window without direction 1 gets a
    packet of size 0 at time 0 there (the authors: with the span axis its place tells the window's
    number); empty: nothing.
    """
    out = np.zeros((len(bounds), TIME_BINS, SIZE_BINS), np.float32)
    fixed = time_axis == "fixed"
    clip = np.array(LARGEST if fixed else (2**31 - 1,) * 2, np.int64)
    _fill(time, size, bounds, start, length, fixed, unpaired == "dummy", clip, BINS, out)
    return out


@njit(cache=True)
def _bin_of(t, low, high):
    """Return np.histogram's bin of t among 300 of equal width, the last closed."""
    step = (high - low) / TIME_BINS
    k = min(max(int((t - low) / step), 0), TIME_BINS - 1)
    while k > 0 and t < low + k * step:
        k -= 1
    while k < TIME_BINS - 1 and t >= low + (k + 1) * step:
        k += 1
    return k


@njit(cache=True)
def _fill(time, size, bounds, start, length, fixed, dummy, clip, bins, out):
    for b in range(len(bounds)):
        lonely = dummy and bounds[b, 1, 0] == bounds[b, 1, 1]
        if fixed:
            low, high = start[b], start[b] + length
        else:
            low, high = (0.0, 0.0) if lonely else (np.inf, -np.inf)
            for d in range(2):
                for i in range(bounds[b, d, 0], bounds[b, d, 1]):
                    low, high = min(low, time[i]), max(high, time[i])
        for d in range(2):
            for i in range(bounds[b, d, 0], bounds[b, d, 1]):
                place = min(np.int64(size[i]), clip[d]) + d * SHIFT
                if place < len(bins):
                    out[b, _bin_of(time[i], low, high), bins[place]] += 1
        if lonely and low <= 0.0 <= high:
            out[b, _bin_of(0.0, low, high), bins[SHIFT]] += 1
