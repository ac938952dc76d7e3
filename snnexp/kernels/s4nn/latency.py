"""Latency code of S4NN: an intensity becomes one spike time, an image a sorted list of spikes.

Letters: N images, P pixels (flattened).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: the brightest intensity of an 8-bit image
WHITE = 255


def latency(intensity: NDArray[np.uint8], t_max: int) -> NDArray[np.int32]:
    """Turn intensities into spike times: white fires first, black never in time to matter.

        t = floor((255 - I) t_max / 255)                                                  (1)

    Kheradpisheh & Masquelier 2020, input layer; t = t_max means no spike.
    """
    return ((WHITE - intensity.astype(np.int64)) * t_max // WHITE).astype(np.int32)


@dataclass(frozen=True)
class SpikeTrains:
    """All spikes of N images in order of (image, time, pixel); image n owns start[n]:start[n + 1].

    The kernels walk a train front to back, so an image costs its spikes and not its P x t_max grid.
    Pixels that never fire are absent.
    """

    start: NDArray[np.int64]
    pixel: NDArray[np.int32]
    time: NDArray[np.int32]
    n_pixels: int
    t_max: int

    def __len__(self) -> int:
        return len(self.start) - 1

    @classmethod
    def from_times(cls, times_NP: NDArray[Any], t_max: int) -> SpikeTrains:
        """Sort spike times [N, P] of 0..t_max into trains; t_max means no spike."""
        if times_NP.size and not 0 <= times_NP.min() <= times_NP.max() <= t_max:
            low, high = times_NP.min(), times_NP.max()
            raise ValueError(f"spike times must lie in 0..{t_max}, got {low}..{high}")
        codes = np.arange(t_max + 1, dtype=np.int32)
        return cls._sorted(times_NP, codes, t_max)

    @classmethod
    def from_images(cls, images: NDArray[np.uint8], t_max: int) -> SpikeTrains:
        """Encode 8-bit images [N, ...] by (1)."""
        if images.dtype != np.uint8:
            raise TypeError(f"latency coding reads 8-bit intensities (uint8), got {images.dtype}")
        codes = latency(np.arange(WHITE + 1, dtype=np.uint8), t_max)
        return cls._sorted(images.reshape(len(images), -1), codes, t_max)

    @classmethod
    def _sorted(cls, values_NP: NDArray[Any], codes: NDArray[np.int32], t_max: int) -> SpikeTrains:
        values_NP = np.ascontiguousarray(values_NP)
        start = np.zeros(len(values_NP) + 1, np.int64)
        np.cumsum((codes[values_NP] < t_max).sum(1), out=start[1:])
        pixel, time = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
        _counting_sort(values_NP, codes, t_max, start, pixel, time)
        return cls(start, pixel, time, values_NP.shape[1], t_max)


@njit(nogil=True, cache=True)
def _counting_sort(values_NP, codes, t_max, start, pixel, time):
    """Write the spikes of each image by time, then pixel; codes[value] is the time of a value."""
    place = np.empty(t_max + 1, np.int64)
    for n in range(len(values_NP)):
        values = values_NP[n]
        place[:] = 0
        for p in range(len(values)):
            place[codes[values[p]]] += 1
        position = start[n]
        for t in range(t_max):
            own = place[t]
            place[t] = position
            position += own
        for p in range(len(values)):
            t = codes[values[p]]
            if t < t_max:
                pixel[place[t]] = p
                time[place[t]] = t
                place[t] += 1
