"""Integrate and fire: the neuron of SEW ResNet."""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.neurons.scan import ScanNeuron


class IF(ScanNeuron):
    """h[t] = v[t-1] + x[t]: decay 1, gain 1 (Fang et al. 2021, SEW ResNet)."""

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Return decay 1 and gain 1."""
        one = torch.ones_like(self.v_th)
        return one, one
