"""What happens to a batch of 8-bit images between memory and model: augmentation, then scaling.

Letters: B batch, C channel, H W space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

#: standard: (x / 255 - mean) / std; unit: x / 255; none: the bytes as they are, for latency codes
Normalise = Literal["standard", "unit", "none"]


class Augment:
    """A random change of float images [B, C, H, W] of range 0..255, drawn anew for each image.

    Draws come from torch's global generator, which the run seeds by epoch.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return changed images of the same shape and range."""
        raise NotImplementedError


class RandomAffine(Augment):
    """Rotate, shift and scale about the image's centre; nearest neighbour, black outside.

        angle ~ U(-degrees, degrees), scale ~ U(scale[0], scale[1]),
        shift ~ U(-translate W, translate W) across and U(-translate H, translate H) down,
        rounded to whole pixels

    the parameters and the sampling of torchvision's RandomAffine, for a whole batch at once.
    """

    def __init__(self, *, degrees: float, translate: float, scale: tuple[float, float]) -> None:
        self.degrees, self.translate, self.scale = degrees, translate, tuple(scale)

    def __call__(self, x: Tensor) -> Tensor:
        """Draw one map for each image and apply it."""
        n, _, height, width = x.shape
        low, high = self.scale
        angle = (2 * torch.rand(n) - 1) * self.degrees
        factor = low + (high - low) * torch.rand(n)
        reach = self.translate * torch.tensor([width, height])
        shift = ((2 * torch.rand(n, 2) - 1) * reach).round()
        return affine(x, angle, shift, factor)


def affine(x: Tensor, angle: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rotate clockwise by `angle` [B] degrees, scale [B], shift [B, 2] pixels (right, down)."""
    n, _, height, width = x.shape
    turn = torch.deg2rad(angle)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    # the inverse map, from places of the result to places of the image, in pixels from the centre
    inverse = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
    offset = -(inverse @ shift[:, :, None])
    # affine_grid counts in half widths
    half = torch.tensor([width / 2, height / 2])
    theta = torch.cat([inverse * half / half[:, None], offset / half[:, None]], 2)
    grid = F.affine_grid(theta.to(x), [n, 1, height, width], align_corners=False)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)


class RandomCropFlip(Augment):
    """Pad with black, crop back at a random place, mirror left and right with probability 1/2.

    With padding 4 the usual augmentation of CIFAR-10.
    """

    def __init__(self, *, padding: int, flip: bool) -> None:
        self.padding, self.flip = padding, flip

    def __call__(self, x: Tensor) -> Tensor:
        """Draw place and mirror for each image."""
        n, _, height, width = x.shape
        padded = F.pad(x, (self.padding,) * 4)
        span = 2 * self.padding + 1
        row = torch.randint(span, (n, 1)) + torch.arange(height)
        column = torch.randint(span, (n, 1)) + torch.arange(width)
        if self.flip:
            column = torch.where(torch.rand(n, 1) < 0.5, column.flip(1), column)
        image = torch.arange(n)[:, None, None]
        picked = padded.permute(0, 2, 3, 1)[image, row[:, :, None], column[:, None, :]]
        return picked.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class ImageTransform:
    """Augment and scale a batch of bytes [B, C, H, W]; `mean` and `std` are per channel."""

    normalise: Normalise
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment | None

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 images, or bytes where `normalise` is none."""
        if self.augment is not None:
            x = self.augment(x.float())
        if self.normalise == "none":
            return x.to(torch.uint8), y
        if self.normalise == "unit":
            return x.float().div(255), y
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        std = torch.tensor(self.std).view(-1, 1, 1)
        # one multiplication and one addition a pixel
        return x.float().mul(1 / (255 * std)).sub(mean / std), y


def tail(labels: Tensor, share: float) -> Tensor:
    """Mark the last `share` of each class in dataset order: True where an item is held out.

    A class of n items keeps its first ceil(n (1 - share)); accuracy-B of the PLIF code, with 0.15.
    """
    held = torch.zeros(len(labels), dtype=torch.bool)
    for k in labels.unique():
        of_class = (labels == k).nonzero()[:, 0]
        held[of_class[math.ceil(len(of_class) * (1 - share) - 1e-9) :]] = True
    return held


def draw(labels: Tensor, share: float, seed: int) -> Tensor:
    """Mark a random `share` of each class, drawn by `seed`: True where an item is held out."""
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for k in labels.unique():
        of_class = (labels == k).nonzero()[:, 0]
        shuffled = of_class[torch.randperm(len(of_class), generator=generator)]
        held[shuffled[math.ceil(len(of_class) * (1 - share) - 1e-9) :]] = True
    return held
