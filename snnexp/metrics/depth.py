"""Errors of depth maps, streaming, over the pixels whose depth is known.

Letters: B batch, H W space.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

#: predictions below this depth in metres count as this deep in the log error
NEAREST = 0.01


class Depth(Metric):
    """Figures of depth maps in metres; NaN in the target is unknown and left out.

    Over the known pixels of a frame, p predicted, g true, d = |p - g|; averaged over frames:

        mde_cm       100 mean d                          the mean depth error of the papers   (1)
        median_cm    100 median d                                                             (2)
        log_error    mean |ln p - ln g|, with p at least `NEAREST`                            (3)
        delta<k>     share of max(p/g, g/p) < 1.25^k, k = 1, 2, 3                             (4)
        1pa          share of |s F/p - s F/g| < 1, F focal length times baseline              (5)

    and over all known pixels at once: rmse_cm = 100 sqrt(mean d^2)                           (6)

    (1) Tulyakov et al. 2019 and Rançon et al. 2022 (StereoSpike), section on metrics.
    (5) is given where `focal_baseline` (pixel metres) is: the one-pixel accuracy of disparity in
    pixels for `disparity_scale` s = 1 (Tulyakov et al.); StereoSpike's last log scales by 7.
    A prediction that is not positive fails (4) and (5). Frames without a known pixel are left out
    and counted in `frames_without_depth`.
    """

    full_state_update = False
    frames: Tensor
    empty: Tensor
    pixels: Tensor
    square: Tensor
    sums: Tensor

    def __init__(
        self, split: str, focal_baseline: float | None = None, disparity_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.split, self.focal_baseline = split, focal_baseline
        self.disparity_scale = disparity_scale
        self.names = ["mde_cm", "median_cm", "log_error", "delta1", "delta2", "delta3"]
        self.names += ["1pa"] if focal_baseline is not None else []
        for state in ("frames", "empty", "pixels", "square"):
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(state, zero, dist_reduce_fx="sum")
        zeros = torch.zeros(len(self.names), dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, prediction: Tensor | tuple[Tensor, ...], target: Tensor) -> None:
        """Add a batch: both [B, 1, H, W] in metres; of several predictions the last counts."""
        if isinstance(prediction, tuple):
            prediction = prediction[-1]
        if prediction.shape != target.shape:
            raise ValueError(
                f"predicted depth has shape {tuple(prediction.shape)}, the target "
                f"{tuple(target.shape)}"
            )
        for p, g in zip(prediction.detach().double(), target.double(), strict=True):
            known = torch.isfinite(g)
            if not known.any():
                self.empty += 1
                continue
            self._add(p[known], g[known])

    def _add(self, p: Tensor, g: Tensor) -> None:
        d = (p - g).abs()
        ratio = torch.where(p > 0, torch.maximum(p / g, g / p), torch.inf)
        figures = [100 * d.mean(), 100 * d.median()]
        figures.append((p.clamp_min(NEAREST).log() - g.log()).abs().mean())
        figures += [(ratio < 1.25**k).double().mean() for k in (1, 2, 3)]
        if self.focal_baseline is not None:
            shift = self.disparity_scale * self.focal_baseline * (1 / p - 1 / g).abs()
            figures.append(((shift < 1) & (p > 0)).double().mean())
        self.sums += torch.stack(figures)
        self.frames += 1
        self.pixels += len(d)
        self.square += (d**2).sum()

    def compute(self) -> dict[str, float]:
        """Return the figures of all frames since `reset`, over all processes."""
        if self.frames == 0:
            raise ValueError(f"{self.split} depth figures: no frame with a known depth was seen")
        means = dict(zip(self.names, (self.sums / self.frames).tolist(), strict=True))
        means["rmse_cm"] = float(100 * (self.square / self.pixels).sqrt())
        means["frames_without_depth"] = float(self.empty)
        return {f"{self.split}/{name}": value for name, value in means.items()}
