"""Record one item's input and the spikes it causes, for the raster figure of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnexp.data.base import Batch
from snnexp.metrics.activity import Firing, channel_raster
from snnexp.training.module import SNNModule


@torch.no_grad()
def record_raster(module: SNNModule, batch: Batch, path: Path) -> Path | None:
    """Write `path`: input [F, T] of the batch's first item, spikes_<layer> [n, T] of one channel.

    The channel is the one that fired most for this item. With a single step there is nothing to
    draw over time: images are kept as they are, input [H, W] and spikes [h, w, 1]. Returns None for
    a network without spiking layers. The layout is that of `snnexp.report.figures.raster`.
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
            spikes = _as_map(spikes, firing) if channel >= 0 else spikes
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
    x = item[0].cpu()
    static = spec.n_steps == 1 and x.dim() == 4
    picture = x[0, 0].float().numpy() if static else _picture(x)
    arrays |= {"input": picture, "title": title, "dt": spec.dt or 0.0, "static": static}
    np.savez_compressed(path, **arrays)
    return path


def _as_map(spikes: Tensor, firing: Firing) -> Tensor:
    """Return the spikes [n, 1] of a channel in a single step as [h, w, 1]; others unchanged."""
    assert firing.spikes is not None
    axes = (firing.time_dim, firing.channel_dim)
    positions = firing.spikes.movedim(axes, (-1, 1)).shape[2:-1]
    return spikes.unflatten(0, positions) if firing.steps == 1 and len(positions) == 2 else spikes


def _picture(x: Tensor) -> np.ndarray:
    """Return the item as a picture [F, T]: the first channel of its steps, space flattened."""
    if x.dim() == 1:
        return x[:, None].float().numpy()
    steps = x if x.dim() == 2 else x[:, 0].flatten(1)
    return steps.T.float().numpy()
