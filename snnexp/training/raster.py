"""Record one item's input and the spikes it causes, for the raster figure of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

    Returns None for a network without spiking layers. The layout is that of
    `snnexp.report.figures.raster`; what stands in it says `raster_arrays`.
    """
    spec = module.spec
    training = module.training
    module.eval()
    try:
        with spikes_kept(module):
            item = batch["input"][:1].to(module.device)
            output = module(item)
            arrays = raster_arrays(module, item[0].cpu())
    finally:
        module.train(training)
    if arrays is None:
        return None
    title = spec.name
    if spec.classes and isinstance(output.prediction, Tensor):
        truth, guess = int(batch["target"][0]), int(output.prediction[0].argmax())
        title = f"{spec.classes[truth]} (taken for {spec.classes[guess]})"
    np.savez_compressed(path, **arrays, title=title)
    return path


@contextmanager
def spikes_kept(module: SNNModule) -> Iterator[None]:
    """Have the module's tape keep spikes; forget them afterwards."""
    before, module.tape.keep_spikes = module.tape.keep_spikes, True
    try:
        yield
    finally:
        module.tape.keep_spikes = before
        module.tape.clear()


def raster_arrays(module: SNNModule, item: Tensor) -> dict[str, Any] | None:
    """Return `input`, `static`, `dt` and spikes_<layer> [n, T] of the first item of a forward.

    The input is [F, T]; or, where it is an image, [H, W]: the mean of its channels, or, of a single
    step of frames, the first. With a single step there is nothing to draw over time either: where
    every layer has places, its spikes are a map [h, w, 1]. The channel of spikes is the one that
    fired most for this item. The forward must have been made while `spikes_kept`. None for a
    network without spiking layers.
    """
    layers = {name: channel_raster(firing, 0) for name, firing in module.tape.items()}
    if not layers:
        return None
    rows = {k if channel < 0 else f"{k} channel {channel}": s for k, (s, channel) in layers.items()}
    spec = module.spec
    step = spec.n_steps == 1 and item.dim() == 4
    if step:
        maps = [_as_map(s, f) for s, f in zip(rows.values(), module.tape.values(), strict=True)]
        if all(m.dim() == 3 for m in maps):
            rows = dict(zip(rows, maps, strict=True))
    if step:
        picture = item[0, 0].float().numpy()
    elif spec.static and item.dim() == 3:
        picture = item.float().mean(0).numpy()
    else:
        picture = _picture(item)
    return {
        **{f"spikes_{label}": s.cpu().numpy() > 0 for label, s in rows.items()},
        "input": picture,
        "dt": spec.dt or 0.0,
        "static": step or (spec.static and item.dim() == 3),
    }


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
