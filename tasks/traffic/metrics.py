"""All problems of Rasteh et al. 2022 from one 14-class confusion matrix.

Letters: K classes, C categories, E encryptions.
"""

from __future__ import annotations

import numpy as np

from tasks.traffic.labels import CATEGORIES, CLASSES, ENCRYPTIONS

CATEGORY_K = np.array([CATEGORIES.index(name.split("_")[0]) for name in CLASSES])
ENCRYPTION_K = np.array([ENCRYPTIONS.index(name.split("_")[1]) for name in CLASSES])


def confusion(target: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts [true, predicted]."""
    return np.bincount(target * classes + predicted, minlength=classes * classes).reshape(
        classes, classes
    )


def derived_problems(matrix: np.ndarray) -> dict[str, float]:
    """Return the figures of the problems inside the 14-class one; `matrix` is [true, predicted].

    category_<encryption>_acc: among items of that encryption, the share whose category is right
    under whatever encryption was predicted. encryption_acc: the share whose encryption is right,
    under whatever category. category_acc: the same over all items. <class>_vs_all_{acc, f1}: the
    class against all others. A problem without items is left out.
    """
    figures: dict[str, float] = {}
    total = matrix.sum()
    if total == 0:
        return figures
    same_category = CATEGORY_K[:, None] == CATEGORY_K[None, :]
    same_encryption = ENCRYPTION_K[:, None] == ENCRYPTION_K[None, :]
    figures["category_acc"] = float(matrix[same_category].sum() / total)
    figures["encryption_acc"] = float(matrix[same_encryption].sum() / total)
    for e, encryption in enumerate(ENCRYPTIONS):
        mine = e == ENCRYPTION_K
        count = matrix[mine].sum()
        if count:
            right = (matrix * same_category)[mine].sum()
            figures[f"category_{encryption}_acc"] = float(right / count)
    for k, name in enumerate(CLASSES):
        hit, true, called = matrix[k, k], matrix[k].sum(), matrix[:, k].sum()
        if true:
            figures[f"{name}_vs_all_acc"] = float(1 - (true + called - 2 * hit) / total)
            figures[f"{name}_vs_all_f1"] = float(2 * hit / (true + called))
    return figures
