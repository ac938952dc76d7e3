"""S4NN: one-spike networks with latency code and their learning rule, behind one signature.

`reference` is the specification in plain NumPy, `cpu` the Numba kernel. Both offer

    train(weights, trains, labels, rule, batch=1) -> TrainFigures    changes the weights in place
    infer(weights, trains, rule) -> Inference

and agree to the last bit where `reference` says so. See README.md beside this file.
"""

from __future__ import annotations

from types import ModuleType

from snnexp.kernels.backend import BackendError
from snnexp.kernels.s4nn import cpu, reference
from snnexp.kernels.s4nn.decision import count_right, scores
from snnexp.kernels.s4nn.latency import SpikeTrains
from snnexp.kernels.s4nn.rule import Inference, S4NNRule, TrainFigures, Weights

__all__ = [
    "Inference",
    "S4NNRule",
    "SpikeTrains",
    "TrainFigures",
    "Weights",
    "count_right",
    "provider",
    "scores",
]


def provider(backend: str) -> ModuleType:
    """Return the module that a backend names; `auto` is `cpu`. Raises BackendError for others."""
    if backend in ("auto", "cpu"):
        return cpu
    if backend == "reference":
        return reference
    raise BackendError(
        f"S4NN runs on the CPU, with backend=cpu (which auto picks) or backend=reference, "
        f"not with backend={backend}"
    )
