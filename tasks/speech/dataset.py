"""Batches of features: read from the cache, or computed from augmented sound."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from snnexp.data.base import Batch
from tasks.speech.augment import Augment
from tasks.speech.encode import PadMode, Scaling, add_deltas, log_mel


class Features(Dataset[Batch]):
    """Cached log-mel spectrograms [n, T, F], given out as scaled features [B, T, 3, F]."""

    def __init__(self, logmel: Tensor, targets: Tensor, scaling: Scaling) -> None:
        self.logmel, self.targets, self.scaling = logmel, targets, scaling

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> Batch:
        batch = self.__getitems__([i])
        return Batch(input=batch["input"][0], target=batch["target"][0], index=batch["index"][0])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        x = self.scaling(add_deltas(self.logmel[index]))
        return Batch(input=x, target=self.targets[index], index=index)


class AugmentedFeatures(Features):
    """Features of varied clips, computed anew for every batch.

    The draws are seeded by `seed` and by the batch's indices: the same batch is varied in the
    same way in every process, and a resumed run goes on with the same numbers. The spectrogram
    of 64 clips takes some 20 ms on one core, so nothing is kept of earlier epochs.
    """

    def __init__(
        self,
        logmel: Tensor,
        targets: Tensor,
        scaling: Scaling,
        *,
        waves: Tensor | None,
        noises: Sequence[Tensor],
        augment: Augment,
        pad_mode: PadMode,
        seed: int,
    ) -> None:
        super().__init__(logmel, targets, scaling)
        self.waves, self.noises, self.augment = waves, noises, augment
        self.pad_mode: PadMode = pad_mode
        self.seed = seed

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        draw = torch.Generator().manual_seed(zlib.crc32(index.numpy().tobytes(), self.seed % 2**32))
        if self.waves is None:
            logmel = self.logmel[index]
        else:
            sound = self.waves[index].float() / 32768
            logmel = log_mel(self.augment.waves(sound, self.noises, draw), self.pad_mode)
        x = self.scaling(add_deltas(logmel))
        if self.augment.on_features:
            x = x * self.augment.masks(len(index), draw)
        return Batch(input=x, target=self.targets[index], index=index)
