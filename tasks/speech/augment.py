"""Augmentation of training clips, on whole batches, before and after the spectrogram.

On waves: speed, shift, background noise. On spectrograms: masks (SpecAugment: Park et al.,
Interspeech 2019, without time warping). All off in the paper's setting.

Letters: B batch, N samples, T time, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor

from snnexp.data.base import DataError
from tasks.speech.audio import LENGTH, SAMPLE_RATE
from tasks.speech.encode import N_MELS, N_STEPS


class Augment:
    """How training clips are varied; a zero turns a way off.

    noise_prob: share of clips mixed with a crop of the background noise
    noise_snr: lowest and highest level of the clip above the noise in dB, drawn uniformly
    shift_ms: largest shift to either side; what leaves the second is lost, zeros enter
    speed: largest relative change of speed, and so of pitch, drawn uniformly to either side
    time_masks, time_mask_ms: number and largest width of masked stretches of time
    freq_masks, freq_mask_bands: number and largest width of masked stretches of mel bands
    """

    def __init__(
        self,
        *,
        noise_prob: float,
        noise_snr: Sequence[float],
        shift_ms: float,
        speed: float,
        time_masks: int,
        time_mask_ms: float,
        freq_masks: int,
        freq_mask_bands: int,
    ) -> None:
        if not 0 <= noise_prob <= 1 or not 0 <= speed < 1 or len(noise_snr) != 2:
            raise DataError(
                f"task.augment: noise_prob={noise_prob} and speed={speed} must lie in [0, 1], "
                f"noise_snr={list(noise_snr)} must be [lowest, highest]"
            )
        self.noise_prob, self.noise_snr = noise_prob, (noise_snr[0], noise_snr[1])
        self.shift, self.speed = round(shift_ms * SAMPLE_RATE / 1000), speed
        self.time_masks, self.time_steps = time_masks, round(time_mask_ms / 10)
        self.freq_masks, self.freq_bands = freq_masks, freq_mask_bands

    @property
    def on_waves(self) -> bool:
        """Whether the sound itself changes, so that spectrograms are computed anew."""
        return self.noise_prob > 0 or self.shift > 0 or self.speed > 0

    @property
    def on_features(self) -> bool:
        """Whether features are masked."""
        return self.time_masks > 0 or self.freq_masks > 0

    def waves(self, x_BN: Tensor, noises: Sequence[Tensor], draw: torch.Generator) -> Tensor:
        """Vary speed and position, then add noise; the result has any peak."""
        if self.shift or self.speed:
            x_BN = self._resample(x_BN, draw)
        return self._add_noise(x_BN, noises, draw) if self.noise_prob else x_BN

    def _resample(self, x_BN: Tensor, draw: torch.Generator) -> Tensor:
        """Read each clip at its own speed from its own start, with linear interpolation."""
        B = len(x_BN)
        speed = 1 + self.speed * (2 * torch.rand(B, 1, generator=draw) - 1)
        shift = self.shift * (2 * torch.rand(B, 1, generator=draw) - 1)
        centre = (LENGTH - 1) / 2
        at = (torch.arange(LENGTH) - centre) * speed + centre + shift
        left = at.floor()
        part = at - left
        padded = torch.nn.functional.pad(x_BN, (1, 2))
        k = (left.long() + 1).clamp(0, LENGTH + 1)
        mixed = padded.gather(1, k) * (1 - part) + padded.gather(1, k + 1) * part
        inside = (at > -1) & (at < LENGTH)
        return torch.where(inside, mixed, 0.0)

    def _add_noise(self, x_BN: Tensor, noises: Sequence[Tensor], draw: torch.Generator) -> Tensor:
        B = len(x_BN)
        lo, hi = self.noise_snr
        snr = lo + (hi - lo) * torch.rand(B, 1, generator=draw)
        noisy = torch.rand(B, 1, generator=draw) < self.noise_prob
        crops = torch.stack([_crop(noises, draw) for _ in range(B)])
        rms = x_BN.square().mean(dim=1, keepdim=True).sqrt()
        level = crops.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-8)
        return x_BN + noisy * crops * (rms / level) * 10 ** (-snr / 20)

    def masks(self, n: int, draw: torch.Generator) -> Tensor:
        """Return factors 0 or 1 for `n` clips, [B, T, 1, F]: stretches of time and bands at zero.

        torchaudio's masks draw from the process's random state; it is seeded here from `draw` and
        put back afterwards.
        """
        ones = torch.ones(n, 1, N_STEPS, N_MELS)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**31, (1,), generator=draw)))
            for count, width, axis in (
                (self.time_masks, self.time_steps, 2),
                (self.freq_masks, self.freq_bands, 3),
            ):
                for _ in range(count):
                    ones = torchaudio.functional.mask_along_axis_iid(ones, width, 0.0, axis)
        return ones.transpose(1, 2)


def _crop(noises: Sequence[Tensor], draw: torch.Generator) -> Tensor:
    noise = noises[int(torch.randint(len(noises), (1,), generator=draw))]
    start = int(torch.randint(len(noise) - LENGTH + 1, (1,), generator=draw))
    return noise[start : start + LENGTH]
