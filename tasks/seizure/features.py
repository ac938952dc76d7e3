"""Spectrogram features of EEG windows, and the band powers of the linear baseline.

Letters: N windows, C channels, T samples, F frequency bins, S spectrogram frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from snnexp.data.base import DataError

Float32 = NDArray[np.float32]

#: edges in Hz: delta, theta, alpha, beta, low and high gamma
BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 55.0), (65.0, 120.0))

# Squared file units: far below any amplifier's noise, so that only dead channels feel it.
_FLOOR = 1e-3
_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Spectrogram:
    """Spectrogram settings of `task.features`.

    The authors' way (Soltani Zarrin et al. 2020, code): nperseg 64, noverlap 32, power `raw`, all
    frequencies; scipy's defaults otherwise (Tukey 0.25 taper, constant detrend), scaling
    'spectrum'. They pass fs=400 for a 5,000-Hz recording; with that scaling only the frequency
    labels change, so the real rate is used here. Corrected: `log` (log10 of the power).

    `f_min`, `f_max` in Hz keep the bins between them; `channel_quantiles` replaces the channels by
    these quantiles over channels, bin by bin, which serves patients with different electrodes.
    """

    nperseg: int
    noverlap: int
    power: Literal["raw", "log"]
    f_min: float | None
    f_max: float | None
    channel_quantiles: Sequence[float] | None

    def __call__(self, windows: Float32, rate: float, where: str) -> tuple[Float32, Float32]:
        """Map windows [N, C, T] to spectrograms [N, C, F, S] and baseline features [N, C, 7].

        Raises DataError, naming `where`, for windows too short and for an empty frequency range.
        """
        if windows.shape[-1] < self.nperseg:
            raise DataError(
                f"{where}: windows of {windows.shape[-1]} samples at {rate:g} Hz are shorter than "
                f"task.features.nperseg={self.nperseg}"
            )
        parts = [
            (self._spectrogram(chunk, rate, where), baseline_features(chunk, rate))
            for i in range(0, len(windows), _CHUNK)
            for chunk in [np.ascontiguousarray(windows[i : i + _CHUNK])]
        ]
        features = np.concatenate([p[0] for p in parts])
        baseline = np.concatenate([p[1] for p in parts])
        return self._pool(features), self._pool(baseline)

    def frame_seconds(self, rate: float) -> float:
        """Return the time between two frames."""
        return (self.nperseg - self.noverlap) / rate

    def frequencies(self, rate: float) -> NDArray[np.float64]:
        """Return the kept frequency bins in Hz."""
        f = np.fft.rfftfreq(self.nperseg, 1 / rate).astype(np.float64)
        return f[self._kept(f)]

    def _kept(self, f: NDArray[np.float64]) -> NDArray[np.bool_]:
        low = -np.inf if self.f_min is None else self.f_min
        return (f >= low) & (f <= (np.inf if self.f_max is None else self.f_max))

    def _spectrogram(self, windows: Float32, rate: float, where: str) -> Float32:
        f, _, power = signal.spectrogram(
            windows, fs=rate, nperseg=self.nperseg, noverlap=self.noverlap, scaling="spectrum"
        )
        kept = self._kept(f)
        if not kept.any():
            raise DataError(
                f"{where}: no frequency bin between task.features.f_min={self.f_min} and "
                f"f_max={self.f_max}; at {rate:g} Hz the bins are {f[1]:.3g} Hz apart"
            )
        power = power[:, :, kept]
        return np.log10(power + _FLOOR) if self.power == "log" else power

    def _pool(self, features: Float32) -> Float32:
        if self.channel_quantiles is None:
            return features.astype(np.float32)
        pooled = np.quantile(features, self.channel_quantiles, axis=1)
        return np.moveaxis(pooled, 0, 1).astype(np.float32)


def baseline_features(windows: Float32, rate: float) -> Float32:
    """Return log10 band powers (BANDS) and log10 line length of windows [N, C, T] as [N, C, 7].

    Power in squared units of the file, from the Hann-tapered periodogram; a band above half the
    rate is empty and reads as the floor. Line length: mean absolute difference of successive
    samples, Esteller et al., EMBS 2001.
    """
    f, power = signal.periodogram(windows, fs=rate, window="hann", scaling="spectrum")
    bands = [power[..., (f >= low) & (f < high)].sum(-1) for low, high in BANDS]
    line_length = np.abs(np.diff(windows, axis=-1)).mean(-1) ** 2
    return np.log10(np.stack([*bands, line_length], -1) + _FLOOR).astype(np.float32)
