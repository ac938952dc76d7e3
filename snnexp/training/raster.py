"""Record one item's input and the spikes it causes, for the raster figure of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnexp.data.base import Batch
from snnexp.metrics.activity import channel_raster
from snnexp.training.module import SNNModule


@torch.no_grad()
def record_raster(module: SNNModule, batch: Batch, path: Path) -> Path | None:
    """Write `path`: input [F, T] of the batch's first item, spikes_<layer> [n, T] of one channel.

    The channel is the one that fired most for this item. Returns None for a network without
    spiking layers. The layout is that of `snnexp.report.figures.raster`.
    """
    spec = module.spec
    keep, module.tape.keep_spikes = module.tape.keep_spikes, True
    training = module.training
    module.eval()
    try:
        item = batch["input"][:1].to(module.device)
        output = module(item)
        arrays: dict[str, Any] = {}
        for name, firing in module.tape.items():
            spikes, channel = channel_raster(firing, 0)
            label = name if channel < 0 else f"{name} channel {channel}"
            arrays[f"spikes_{label}"] = spikes.cpu().numpy() > 0
    finally:
        module.tape.keep_spikes = keep
        module.tape.clear()
        module.train(training)
    if not arrays:
        return None
    title = spec.name
    if spec.classes and isinstance(output.prediction, Tensor):
        truth, guess = int(batch["target"][0]), int(output.prediction[0].argmax())
        title = f"{spec.classes[truth]} (taken for {spec.classes[guess]})"
    arrays |= {"input": _picture(item[0].cpu()), "title": title, "dt": spec.dt or 0.0}
    np.savez_compressed(path, **arrays)
    return path


def _picture(x: Tensor) -> np.ndarray:
    """Return the item as a picture [F, T]: the first channel of its steps, space flattened."""
    if x.dim() == 1:
        return x[:, None].float().numpy()
    steps = x if x.dim() == 2 else x[:, 0].flatten(1)
    return steps.T.float().numpy()
