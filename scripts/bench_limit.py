"""The products of a training step alone: what is left of it were all else free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
#: convolutions and matrix products, forward and backward
PRODUCTS = (
    ATEN.convolution.default,
    ATEN.convolution_backward.default,
    ATEN.mm.default,
    ATEN.addmm.default,
    ATEN.bmm.default,
)


class Recorder(TorchDispatchMode):
    """Keep every product with what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op in PRODUCTS:
            self.calls.append((op, args, kwargs or {}))
        return op(*args, **(kwargs or {}))


def products_of(step: Callable[[], None]) -> Callable[[], None]:
    """Make one step; return a function that computes its products again, and nothing else."""
    with Recorder() as recorder:
        step()
    if not recorder.calls:
        raise ValueError("the step multiplies nothing: it has no convolution or matrix product")

    def products() -> None:
        with torch.no_grad():
            for op, args, kwargs in recorder.calls:
                op(*args, **kwargs)

    return products
