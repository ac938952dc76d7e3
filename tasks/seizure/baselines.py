"""Trivial detectors on the same splits: majority, line length, band power + logistic regression.

Letters: N windows, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from snnexp.data.base import Split
from snnexp.metrics.detection import roc_auc

Float32 = NDArray[np.float32]

_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def baselines(
    features: dict[Split, Float32], labels: dict[Split, NDArray[np.int64]], positive: int
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Return test figures of trivial detectors from `baseline_features` [N, C, 7].

    - `chance`: accuracy of naming the most frequent training class.
    - `line_length`: accuracy of a threshold on the mean log line length, set on the training set.
    - `linear`: accuracy of logistic regression on the standardised features of all channels, its
      penalty chosen on validation; `linear_auc` and `linear_balanced_acc` beside it.

    The line length knows two classes and is left out for more; the AUC is then that of `positive`
    against the rest, `linear_e_auc` as the figure is called there. Also returns the logistic
    regression's probability of `positive` for each test window [N].
    """
    majority = np.bincount(labels["train"]).argmax()
    figures = {"chance": float((labels["test"] == majority).mean())}
    two = len(np.unique(labels["train"])) == 2
    if two:
        level = {s: features[s][..., -1].mean(1) for s in features}
        threshold, sign = _stump(level["train"], labels["train"] == positive)
        said = sign * level["test"] > threshold
        figures["line_length"] = float((said == (labels["test"] == positive)).mean())

    flat = {s: features[s].reshape(len(features[s]), -1) for s in features}
    best, best_score = None, -1.0
    for strength in _STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        model.fit(flat["train"], labels["train"])
        score = float((model.predict(flat["val"]) == labels["val"]).mean())
        if score > best_score:
            best, best_score = model, score
    assert best is not None
    predicted = best.predict(flat["test"])
    figures["linear"] = float((predicted == labels["test"]).mean())
    recalls = [(predicted[labels["test"] == k] == k).mean() for k in np.unique(labels["test"])]
    figures["linear_balanced_acc"] = float(np.mean(recalls))
    scores = best.predict_proba(flat["test"])[:, list(best.classes_).index(positive)]
    auc = roc_auc(labels["test"] == positive, scores)
    if auc is not None:
        figures["linear_auc" if two else "linear_e_auc"] = auc
    return figures, scores


def _stump(level: Float32, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return threshold and sign of the most accurate rule `sign * level > threshold`."""
    best = (-1.0, 0.0, 1.0)
    for sign in (1.0, -1.0):
        order = np.argsort(sign * level)
        values, truth = (sign * level)[order], positive[order]
        # Rule i calls everything after position i positive.
        right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate(
            [np.cumsum(truth[::-1])[::-1], [0]]
        )
        i = int(right.argmax())
        edges = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
        best = max(best, (right[i] / len(level), float(edges[i]), sign))
    return best[1], best[2]
