"""Spiking neural network papers, reproduced: one config-driven framework around one LIF op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnexp.loaded import LoadedRun


def load(run: Any, **options: Any) -> LoadedRun:
    """Take up a finished run: `snnexp.load("outputs/runs/...").predict("word.wav")`.

    Options are those of `snnexp.loaded.LoadedRun`: checkpoint, data, device, trust, ...
    """
    # here, so that `import snnexp` costs nothing
    from snnexp.loaded import LoadedRun

    return LoadedRun(run, **options)
