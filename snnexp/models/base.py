"""What a model takes and gives.

Letters: B batch, T time, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.kernels.backend import Provider
from snnexp.neurons.base import Neuron


class ModelOutput(NamedTuple):
    """`prediction` is what the loss sees: scores [B, K], or depth maps [B, 1, H, W] in metres.

    `trace` is the readout over time [T, B, K], where a model has one (figures, detection curves).
    """

    prediction: Tensor | tuple[Tensor, ...]
    trace: Tensor | None = None


class SpecError(ValueError):
    """A model that cannot serve a task."""


class Model(nn.Module):
    """Base of all models: built as `Model(spec, **config)`, called with one batch's input.

    The input is time first, [T, B, *step_shape]; a static one is [B, *step_shape]. No state
    outlives the call.
    """

    #: model yamls that serve the same kind of input, named in the error of `require`
    alternatives: str = ""
    #: parts of the network whose firing rate is told beside that of each layer: their modules
    parts: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, spec: TaskSpec) -> None:
        super().__init__()
        self.spec = spec

    def require(self, ok: bool, what: str) -> None:
        """Raise the error of a model that cannot serve `spec`."""
        if not ok:
            s = self.spec
            raise SpecError(
                f"model {type(self).__name__} needs {what}; task {s.name} gives {s.kind} of "
                f"{'static' if s.static else f'{s.n_steps}-step'} input with steps of shape "
                f"{s.step_shape}. Models that fit: {self.alternatives or 'see configs/model'}"
            )

    def providers(self, device: torch.device) -> set[Provider]:
        """Return what runs the spiking layers on `device`; more than one where layers differ."""
        return {m.provider(device) for m in self.modules() if isinstance(m, Neuron)}

    def forward(self, x: Tensor) -> ModelOutput:
        """Map one batch to a `ModelOutput`."""
        raise NotImplementedError
