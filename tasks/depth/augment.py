"""Augmentations of StereoSpike: as its code has them, and with their faults mended.

Letters: B batch, T steps, C channels (left ON, left OFF, right ON, right OFF), H W space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of a training sample, each with its own probability a sample.

    `hflip` mirrors the views and the depth from left to right. A mirrored pair of cameras is a
    pair with its sides swapped: mended, the flipped right view becomes the left one and the depth
    is the flipped depth of the right camera. With `faults` the cameras stay where they are, as in
    the authors' code, which turns every disparity around.
    `time_mirror` runs the film backwards: windows in reverse order and ON and OFF swapped; the
    depth is that of the time where the reversed film ends. The authors' code does the same.
    `event_drop` removes each event with one probability a sample, drawn up to `event_drop_max`.
    With `faults` the right view is made from the left one, as in the authors' code.
    """

    hflip: float
    time_mirror: float
    event_drop: float
    event_drop_max: float
    faults: bool

    @property
    def needs_right_depth(self) -> bool:
        """Whether a mended flip asks for the right camera's depth."""
        return self.hflip > 0 and not self.faults

    def flips(self, n: int) -> Tensor:
        """Draw which of n samples are mirrored in space."""
        return torch.rand(n) < self.hflip

    def mirrors(self, n: int) -> Tensor:
        """Draw which of n samples run backwards."""
        return torch.rand(n) < self.time_mirror

    def flip(self, views: Tensor) -> Tensor:
        """Mirror views [B, T, C, H, W] in space."""
        views = views.flip(-1)
        if self.faults or views.shape[2] == 2:
            return views
        return views[:, :, [2, 3, 0, 1]]

    def drop(self, views: Tensor) -> Tensor:
        """Remove events at random from counts [B, T, C, H, W]."""
        if self.event_drop == 0:
            return views
        chosen = torch.rand(len(views)) < self.event_drop
        share = torch.rand(len(views)) * self.event_drop_max * chosen
        keep = (1 - share).view(-1, 1, 1, 1, 1).expand_as(views)
        thinned = torch.binomial(views, keep)
        if self.faults and views.shape[2] == 4:
            thinned = torch.cat([thinned[:, :, :2], thinned[:, :, :2]], dim=2)
            return torch.where(chosen.view(-1, 1, 1, 1, 1), thinned, views)
        return thinned


def reverse(views: Tensor) -> Tensor:
    """Run views [B, T, C, H, W] backwards: steps in reverse, ON and OFF of each camera swapped."""
    swapped = views.unflatten(2, (-1, 2)).flip(3).flatten(2, 3)
    return swapped.flip(1)
