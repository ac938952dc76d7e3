"""Classification figures of one split, streaming, from torchmetrics.

Letters: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix


class Classification(nn.Module):
    """Accuracy, balanced accuracy, recall of each class, confusion matrix, top-5.

    All but two come from one confusion matrix M (rows: target, columns: prediction), so that a
    step costs one argmax and one count:

        acc           = sum_k M[k, k] / sum_jk M[j, k]                                         (1)
        recall/<k>    = M[k, k] / sum_j M[k, j]         only of classes that occur             (2)
        balanced_acc  = mean of (2)                                                            (3)
        batch_mean_acc = unweighted mean over batches of the accuracy of each batch            (4)
        top5          = share of targets among the five highest scores (K >= 10, if asked for) (5)

    (4) is how s2net's authors average (papers' convention: a short last batch counts as much as a
    full one); it depends on the batch size and stands beside (1), never for it. Of equal highest
    scores the first class is predicted, as torch.argmax does.

    `split` prefixes the keys (`test/acc`). `detailed` adds (2), (4) and (5) to (1) and (3).
    """

    def __init__(
        self, classes: Sequence[str], split: str, detailed: bool = False, top5: bool = False
    ) -> None:
        super().__init__()
        if top5 and len(classes) < 10:
            raise ValueError(f"top-5 accuracy of {len(classes)} classes says nothing; needs 10")
        self.classes, self.split, self.detailed = tuple(classes), split, detailed
        # validate_args reads targets back from the device at each step
        self.matrix = MulticlassConfusionMatrix(len(classes), validate_args=False)
        self.batch_mean = MeanMetric() if detailed else None
        self.top5 = (
            MulticlassAccuracy(len(classes), top_k=5, average="micro", validate_args=False)
            if top5
            else None
        )

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Add one batch: scores [B, K], target [B]."""
        if scores.shape != (len(target), len(self.classes)):
            raise ValueError(
                f"scores of shape {tuple(scores.shape)} for {len(target)} targets and "
                f"{len(self.classes)} classes; expected ({len(target)}, {len(self.classes)})"
            )
        prediction = scores.detach().argmax(1)
        self.matrix.update(prediction, target)
        if self.batch_mean is not None:
            self.batch_mean.update((prediction == target).float().mean())
        if self.top5 is not None:
            self.top5.update(scores.detach(), target)

    def compute(self) -> dict[str, float]:
        """Return the figures of all batches since `reset`, over all processes."""
        matrix = self.matrix.compute().cpu().double()
        if matrix.sum() == 0:
            raise ValueError(f"{self.split} figures are asked for before any batch was seen")
        support = matrix.sum(1)
        recall = matrix.diagonal() / support
        figures = {
            "acc": float(matrix.trace() / matrix.sum()),
            "balanced_acc": float(recall[support > 0].mean()),
        }
        if self.detailed:
            figures |= {
                f"recall/{name}": float(recall[k])
                for k, name in enumerate(self.classes)
                if support[k] > 0
            }
        if self.batch_mean is not None:
            figures["batch_mean_acc"] = float(self.batch_mean.compute())
        if self.top5 is not None:
            figures["top5"] = float(self.top5.compute())
        return {f"{self.split}/{key}": value for key, value in figures.items()}

    def confusion(self) -> list[list[int]]:
        """Return the confusion matrix: a row a target class, a column a predicted class."""
        return self.matrix.compute().to(torch.int64).tolist()

    def reset(self) -> None:
        """Forget all batches."""
        for metric in (self.matrix, self.batch_mean, self.top5):
            if metric is not None:
                metric.reset()
