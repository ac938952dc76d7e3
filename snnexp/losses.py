"""What a run minimises: a task loss on the prediction plus, if asked for, a price on spikes.

Letters: B batch, K classes, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class _HalfMeanSquare(torch.autograd.Function):
    """0.5 * mean(s^2), without the tensor s^2 and its gradient: one pass forward, one backward."""

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        ctx.save_for_backward(s)
        # float32 counts the spikes of a layer exactly up to 2^24, and rounds beyond
        norm = torch.linalg.vector_norm(s, dtype=torch.promote_types(s.dtype, torch.float32))
        return norm.square() * (0.5 / s.numel())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (s,) = ctx.saved_tensors
        return s * (grads[0] / s.numel()).to(s.dtype)


class ActivityPenalty(nn.Module):
    """A price on the spikes of hidden layers.

    `of_layer` is called as soon as a layer has fired. Autograd goes back through what was computed
    last first: of prices computed at the end all gradients, each as large as a layer's spikes,
    would be there at once, and wait for the layers behind theirs.
    """

    def of_layer(self, spikes: Tensor) -> Tensor:
        """Return what the price takes of a layer: its spikes."""
        return spikes

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the price, a scalar with gradient, of what `of_layer` gave, in their order."""
        raise NotImplementedError


class SquaredSpikes(ActivityPenalty):
    """weight * sum over layers l = 1..L of (l/L if by_depth else 1) * 0.5 * mean(s_l^2).

    As s is 0 or 1 the value is half the firing rate; the square matters in the gradient, which is
    proportional to s: only neurons that fire are pushed down.
    Source: code of the speech and seizure papers (weight 0.1, by_depth).
    """

    def __init__(self, *, weight: float, by_depth: bool) -> None:
        super().__init__()
        self.weight, self.by_depth = weight, by_depth

    def of_layer(self, spikes: Tensor) -> Tensor:
        """Return 0.5 * mean(s^2)."""
        half: Tensor = _HalfMeanSquare.apply(spikes)
        return half

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum over layers."""
        if not layers:
            raise ValueError("loss.activity needs spiking layers, but the model has none")
        shares = [(i + 1) / len(layers) if self.by_depth else 1.0 for i in range(len(layers))]
        terms = [share * half for share, half in zip(shares, layers, strict=True)]
        return self.weight * torch.stack(terms).sum()


class Loss(nn.Module):
    """Base of all losses: `kind` names the kind of task it serves."""

    kind: str

    def __init__(self, activity: ActivityPenalty | None) -> None:
        super().__init__()
        self.activity = activity

    def task_loss(self, prediction: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the loss of a prediction, a scalar."""
        raise NotImplementedError

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return what scores [B, K] say of the classes, as shares: softmax(scores)."""
        return scores.float().softmax(-1)

    def forward(
        self,
        prediction: Tensor | tuple[Tensor, ...],
        target: Tensor,
        layers: Sequence[Tensor] = (),
    ) -> dict[str, Tensor]:
        """Return `loss`, and its parts `task` and `activity` where there is a penalty.

        `layers` are what `activity.of_layer` gave of the spiking layers, in their order.
        """
        task = self.task_loss(prediction, target)
        if self.activity is None:
            return {"loss": task}
        activity = self.activity(layers)
        return {"loss": task + activity, "task": task.detach(), "activity": activity.detach()}


def _scores(prediction: Tensor | tuple[Tensor, ...]) -> Tensor:
    if not isinstance(prediction, Tensor):
        raise TypeError("this loss takes class scores [B, K], the model gives several maps")
    return prediction


class CrossEntropy(Loss):
    """-log softmax(scores)[target], mean over the batch."""

    kind = "classification"

    def __init__(self, *, label_smoothing: float, activity: ActivityPenalty | None) -> None:
        super().__init__(activity)
        self.label_smoothing = label_smoothing

    def task_loss(self, prediction: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the cross-entropy of scores [B, K] and classes [B]."""
        scores = _scores(prediction).float()
        return F.cross_entropy(scores, target, label_smoothing=self.label_smoothing)


class MeanSquaredRate(Loss):
    """Mean over batch and classes of (rate - one_hot)^2; Fang et al. 2021 (PLIF), section 2.3."""

    kind = "classification"

    def __init__(self, *, activity: ActivityPenalty | None) -> None:
        super().__init__(activity)

    def task_loss(self, prediction: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the squared error of rates [B, K] against classes [B]."""
        rates = _scores(prediction).float()
        return F.mse_loss(rates, F.one_hot(target, rates.shape[-1]).to(rates.dtype))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return each class's share of all output spikes; equal shares where none fired."""
        rates = scores.float().clamp(min=0)
        total = rates.sum(-1, keepdim=True)
        return torch.where(total > 0, rates / total, 1 / rates.shape[-1])
