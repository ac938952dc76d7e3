"""Clips to features: log-mel spectrogram with two orders of deltas, scaled.

    x = clip / max|clip|, zero-padded on both sides to 16,000 samples                        (1)
    S = mel(|STFT(x)|^2), 30 ms Hann windows every 10 ms, 40 Slaney bands 20-4,000 Hz         (2)
    L = log(1 + S / max S)                                                                    (3)
    features = [L, delta(L), delta^2(L)], librosa's deltas (Savitzky-Golay, 9 frames)         (4)
    features / std over time, per clip, delta order and band; zero std counts as 1            (5)

Source: the public code of Pellegrini, Zimmer and Masquelier, SLT 2021. Filters and deltas are
librosa's; the STFT is torch's, equal to librosa's within 2e-6 (tested), so that augmented clips
take the same way as cached ones (librosa's own STFT also compiles for 15 s at its first import).

Letters: B batch, T time (101 steps of 10 ms), F mel bands (40), N samples (16,000).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tasks.speech.audio import LENGTH, SAMPLE_RATE

N_FFT, HOP, N_MELS, F_MIN, F_MAX = 480, 160, 40, 20.0, 4000.0
N_STEPS = 1 + LENGTH // HOP
DT = HOP / SAMPLE_RATE

PadMode = Literal["reflect", "constant"]
ScalingMode = Literal["clip_and_batch", "clip", "clip_and_train", "train"]


@lru_cache
def _mel_filters() -> Tensor:
    """Return the filters [F, bins] over the bins up to F_MAX; all weights beyond are zero."""
    from librosa.filters import mel

    filters = mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=F_MIN, fmax=F_MAX)
    return torch.from_numpy(filters[:, : np.flatnonzero(filters.any(axis=0))[-1] + 1].copy())


@lru_cache
def _delta_matrices() -> Tensor:
    """Deltas are linear in the frames: [2, T, T], columns are librosa's deltas of unit frames."""
    from librosa.feature.utils import delta

    unit = np.eye(N_STEPS)
    both = np.stack([delta(unit, order=order, axis=0) for order in (1, 2)])
    return torch.from_numpy(both.astype(np.float32))


def log_mel(waves_BN: Tensor, pad_mode: PadMode) -> Tensor:
    """Equations (1) to (3): waves [B, N] to log-mel spectrograms [B, T, F].

    Digital silence gives zeros. `pad_mode` is how the STFT continues the clip beyond its ends:
    `reflect` was librosa's default when the paper was written, `constant` (zeros) is today's.
    """
    peak = waves_BN.abs().amax(dim=1, keepdim=True)
    x = waves_BN / torch.where(peak > 0, peak, 1.0)
    window = torch.hann_window(N_FFT, dtype=x.dtype, device=x.device)
    spectrum = torch.stft(
        x, N_FFT, HOP, window=window, center=True, pad_mode=pad_mode, return_complex=True
    )
    filters = _mel_filters().to(x)
    heard = spectrum[:, : filters.shape[1]]
    power = heard.real.square() + heard.imag.square()
    mel = (filters @ power).transpose(1, 2)
    top = mel.amax(dim=(1, 2), keepdim=True)
    return torch.log1p(mel / torch.where(top > 0, top, 1.0))


def add_deltas(logmel_BTF: Tensor) -> Tensor:
    """Equation (4): [B, T, F] to [B, T, 3, F]."""
    d1, d2 = _delta_matrices().to(logmel_BTF)
    return torch.stack([logmel_BTF, d1 @ logmel_BTF, d2 @ logmel_BTF], dim=2)


def _one_for_zero(std: Tensor) -> Tensor:
    return torch.where(std > 0, std, 1.0)


class Scaling:
    """Equation (5) and what follows it; no mode removes the mean.

    `clip_and_batch` then divides by the std over batch and time (the authors: a clip's features
    depend on its batch, also in the test). `clip` stops at (5). `clip_and_train` then divides by
    the std over the training set and time. `train` does that without (5).
    """

    def __init__(self, mode: ScalingMode) -> None:
        self.mode = mode
        self.train_std: Tensor | None = None

    def fit(self, logmel_NTF: Tensor) -> None:
        """Measure the training set's std per delta order and band, where the mode needs it."""
        if self.mode not in ("clip_and_train", "train"):
            return
        total, square, n = torch.zeros(3, N_MELS), torch.zeros(3, N_MELS), 0
        for chunk in logmel_NTF.split(512):
            x = self._clip(add_deltas(chunk)).double()
            total = total + x.sum(dim=(0, 1))
            square = square + x.square().sum(dim=(0, 1))
            n += x.shape[0] * x.shape[1]
        variance = square / n - (total / n).square()
        self.train_std = _one_for_zero(variance.clamp(min=0).sqrt()).float()

    def _clip(self, x: Tensor) -> Tensor:
        if self.mode == "train":
            return x
        return x / _one_for_zero(x.std(dim=1, keepdim=True, correction=0))

    def __call__(self, x_BTOF: Tensor) -> Tensor:
        """Scale features [B, T, 3, F]."""
        x = self._clip(x_BTOF)
        if self.mode == "clip_and_batch":
            return x / _one_for_zero(x.std(dim=(0, 1), keepdim=True, correction=0))
        if self.mode == "clip":
            return x
        if self.train_std is None:
            raise RuntimeError(f"scaling {self.mode} is used before fit()")
        return x / self.train_std
