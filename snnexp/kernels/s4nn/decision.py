"""From spike times to decisions: one score a class, and the three ways to count what is right.

Letters: N images, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnexp.kernels.s4nn.rule import Inference


def scores(inference: Inference, t_max: int) -> NDArray[np.float32]:
    """Return one score [N, K] a class, from which every rule of `count_right` can be computed.

        score_k = (t_max - t_k) + r_k / K                                                 (1)

    with r_k = 0..K-1 the rank of the class's potential. The larger score is the earlier spike; of
    equal times, the larger potential; the whole part is 0 where the class never fired. The argmax
    so breaks ties by potential.
    """
    times_NK, v_NK = inference.times[-1], inference.potential
    rank_NK = v_NK.argsort(1, kind="stable").argsort(1, kind="stable")
    return ((t_max - times_NK) + rank_NK / times_NK.shape[1]).astype(np.float32)


def count_right(scores_NK: NDArray[Any], target_N: NDArray[np.integer]) -> dict[str, int]:
    """Count right decisions by the three rules, from the scores of (1).

    - `ties_right`, the authors' rule: the label's unit fires at the first time, alone or not;
      where no unit fired, its potential at t_max - gamma is the largest.
    - `potential`: the argmax: of the units that fire first, the label's has the largest potential;
      the same fallback.
    - `unique`: the label's unit alone fires first; a silent output is wrong.
    """
    early_NK = np.floor(scores_NK)
    first_N = early_NK.max(1)
    by_potential_N = scores_NK.argmax(1) == target_N
    fired_N = first_N > 0
    label_first_N = np.take_along_axis(early_NK, target_N[:, None], 1)[:, 0] == first_N
    alone_N = (early_NK == first_N[:, None]).sum(1) == 1
    return {
        "ties_right": int(np.where(fired_N, label_first_N, by_potential_N).sum()),
        "potential": int(by_potential_N.sum()),
        "unique": int((fired_N & label_first_N & alone_N).sum()),
    }
