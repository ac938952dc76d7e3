"""StereoSpike's depth loss and its price on spikes.

Rançon et al., arXiv 2109.13751v2, equations 2 to 5, as the authors' code computes them.
Letters: B batch, H W space, M depth maps of one prediction, n known pixels of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from snnexp.losses import ActivityPenalty, Loss

SOBEL_X = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))


class ResidualVariance(Loss):
    """Variance of the depth error plus its Sobel gradients, summed over the predicted maps.

    With R = prediction - target where the target is known, 0 elsewhere (NaN, or the image's
    outside), and n known pixels in the whole batch, sums running over known pixels:

        variance = (1/n) sum R^2 - ((1/n) sum R)^2                                          (1)
        gradient = (1/n) sum |SobelX * R| + |SobelY * R|     3x3, not normalised            (2)
        loss     = sum over maps of variance + gradient_weight gradient                     (3)

    The paper prints the second term of (1) with another 1/n; the code does not have it.

    The zeros around known pixels matter. A constant error c changes neither (1) nor, where all nine
    pixels of a window are known, (2); at a border of the image or of a hole a window sees the step
    from c to 0 and charges up to 4 |c|. That alone ties the prediction to metres: a Sobel term
    that left such windows out would leave the absolute depth free.

    Computed in float32, also under autocast. A batch without a known pixel costs nothing: 0, and
    no gradient.
    """

    kind = "depth"
    sobel: Tensor

    def __init__(self, *, gradient_weight: float, activity: ActivityPenalty | None) -> None:
        super().__init__(activity)
        self.gradient_weight = gradient_weight
        x = torch.tensor(SOBEL_X)
        self.register_buffer("sobel", torch.stack([x, x.T])[:, None], persistent=False)

    def task_loss(self, prediction: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the loss of maps [B, 1, H, W] against depth [B, 1, H, W] in metres."""
        maps = (prediction,) if isinstance(prediction, Tensor) else prediction
        for depth in maps:
            if depth.shape != target.shape:
                raise ValueError(
                    f"predicted depth has shape {tuple(depth.shape)}, the target "
                    f"{tuple(target.shape)}: both must be [B, 1, H, W]"
                )
        with torch.autocast(target.device.type, enabled=False):
            known = torch.isfinite(target)
            pixels = known.sum().clamp(min=1)
            error_MBHW = torch.stack([m.to(target.dtype) for m in maps])[:, :, 0] - target[:, 0]
            return self._loss(error_MBHW.where(known[:, 0], 0), known[:, 0], pixels)

    def _loss(self, error_MBHW: Tensor, known_BHW: Tensor, pixels: Tensor) -> Tensor:
        axes = (1, 2, 3)
        mean = error_MBHW.sum(axes, keepdim=True) / pixels
        # (1) as the mean square of what is left without the mean: no difference of large numbers
        variance = (error_MBHW - mean).where(known_BHW, 0).square().sum() / pixels
        slopes = F.conv2d(error_MBHW.flatten(0, 1)[:, None], self.sobel.to(mean.dtype), padding=1)
        steepness = slopes.abs().sum(1).unflatten(0, error_MBHW.shape[:2])
        gradient = steepness.where(known_BHW, 0).sum() / pixels
        return variance + self.gradient_weight * gradient


class SquaredSums(ActivityPenalty):
    """weight * sum over i of 0.5 * mean(s_i^2), s_i the sum of the spikes of the layers `sums[i]`.

    Layers are counted from 0 in the order of execution. StereoSpike's price is on the five tensors
    its layers hand on: what leaves the bottleneck (encoder 4 and both residual blocks) and the four
    sums of decoder and skip. Their entries count spikes, so the square costs a site that two
    neurons use more than twice as much. Source: authors' code (facts, section 3.5).
    """

    def __init__(self, *, weight: float, sums: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.weight, self.sums = weight, [tuple(layers) for layers in sums]

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the price of the given layers' spikes."""
        last = max(max(places) for places in self.sums)
        if last >= len(layers):
            raise ValueError(
                f"loss.activity.sums names spiking layer {last}, counted from 0, but the model has "
                f"{len(layers)}"
            )
        terms = [
            0.5 * torch.stack([layers[i] for i in places]).sum(0).square().mean()
            for places in self.sums
        ]
        return self.weight * torch.stack(terms).sum()
