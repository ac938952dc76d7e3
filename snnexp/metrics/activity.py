"""Firing activity of a network: what each spiking layer did in a forward, and over an epoch.

`Tape` listens to one forward, `Activity` sums what tapes heard over batches and processes.

Letters: T time, B batch, N neurons of one sample (any number of axes), n positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from torchmetrics import Metric

from snnexp.neurons.base import Neuron, NeuronOutput


class Firing(NamedTuple):
    """What one spiking layer did in one forward.

    `counts` [B, *N] is the number of spikes of each neuron over `steps` time steps. `spikes`, in
    the layout of the layer's input and with its gradient, is None unless the tape keeps spikes.
    `priced` is what the tape's `price` took of them.
    """

    counts: Tensor
    steps: int
    spikes: Tensor | None
    time_dim: int
    channel_dim: int
    priced: Tensor | None


class Tape(Mapping[str, Firing]):
    """Hears every `Neuron` below `model` through forward hooks: module name -> `Firing`.

    Layers stand in the order in which they ran. The tape is emptied when `model` is called again,
    and by `clear()`, which frees the spikes as soon as they have been used. A neuron that runs more
    than once in a forward (siamese branches) is a population of its own each time: `lif`, `lif#2`.
    Nothing is stored in the modules. Make the tape before `torch.compile`, which ignores hooks
    that come later; the hooks are part of the graph and do not break it.

    `spikes` says whether spikes are kept (rasters); the counts alone cost nothing to keep. It may
    be switched at any time: `tape.keep_spikes = True`. `price` is called with the spikes of each
    layer as soon as it has fired (regularisers).
    """

    def __init__(
        self,
        model: nn.Module,
        spikes: bool = False,
        price: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.keep_spikes, self._price = spikes, price
        self._firings: dict[str, Firing] = {}
        neurons = {
            name or type(m).__name__: m
            for name, m in model.named_modules()
            if isinstance(m, Neuron)
        }
        #: names of all spiking layers of the model, whether or not they ran
        self.layers = tuple(neurons)
        self._handles: list[RemovableHandle] = [model.register_forward_pre_hook(self._begin)]
        for name, module in neurons.items():
            self._handles.append(module.register_forward_hook(partial(self._hear, name)))

    def _begin(self, model: nn.Module, args: Any) -> None:
        self._firings = {}

    def _hear(self, name: str, module: Neuron, args: Any, output: NeuronOutput) -> None:
        key, again = name, 2
        while key in self._firings:
            key, again = f"{name}#{again}", again + 1
        self._firings[key] = Firing(
            counts=output.count.detach(),
            steps=output.spikes.shape[module.time_dim],
            spikes=output.spikes if self.keep_spikes else None,
            time_dim=module.time_dim,
            channel_dim=module.channel_dim,
            priced=None if self._price is None else self._price(output.spikes),
        )

    def __getitem__(self, name: str) -> Firing:
        return self._firings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._firings)

    def __len__(self) -> int:
        return len(self._firings)

    def clear(self) -> None:
        """Forget the last forward, so that its spikes can be freed."""
        self._firings = {}

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.clear()


def channel_raster(firing: Firing, item: int, channel: int | None = None) -> tuple[Tensor, int]:
    """Return the spikes [n, T] of all positions of one channel for one item of the batch.

    Without `channel` it is the channel that fired most for this item (the first of several); the
    second value says which. A layer without positions (channels only) is shown whole, every
    channel a row; its channel is then -1.

    Raises ValueError where the tape did not keep spikes.
    """
    if firing.spikes is None:
        raise ValueError("the tape kept no spikes; make it with Tape(model, spikes=True)")
    spikes = firing.spikes.detach().movedim((firing.time_dim, firing.channel_dim), (-1, 1))[item]
    # [C, *positions, T]
    if spikes.dim() == 2:
        return spikes, -1
    if channel is None:
        channel = int(spikes.flatten(1).sum(1).argmax())
    return spikes[channel].reshape(-1, spikes.shape[-1]), channel


class Activity(Metric):
    """Mean firing rate, spikes per neuron and dead neurons of every layer, over an epoch.

    For layer l with N neurons, over samples b of T_b steps, with c[b, i] spikes of neuron i:

        rate  = sum_b sum_i c[b, i] / (N sum_b T_b)             share of steps, in [0, 1]     (1)
        hz    = rate / dt                                       None where dt is unknown      (2)
        spikes_per_neuron = sum_b sum_i c[b, i] / (N B)         spikes a neuron and sample    (3)
        dead  = share of neurons with sum_b c[b, i] = 0         never fired in the epoch      (4)

    The total sums numerators and denominators of (1), (3) and (4) over layers, so that a layer
    weighs by its neurons (and steps), not as one of L layers.

    State is one integer per neuron, the spikes of the epoch, on the device: exact, and summed
    over processes, so that the result does not depend on batch sizes or on who saw which batch.
    `update` takes a `Tape` and reads back nothing; the host waits only in `compute`.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    samples: Tensor

    def __init__(self, dt: float | None = None, **distributed: Any) -> None:
        super().__init__(**distributed)
        self.dt = dt
        self.layers: list[str] = []
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, firings: Mapping[str, Firing]) -> None:
        """Add one forward: a tape, or any mapping of layer name to `Firing`."""
        names = list(firings)
        if not names:
            raise ValueError(
                "no spiking layer ran in the last forward: either the model has no Neuron module, "
                "or the Tape was made after torch.compile, which ignores later hooks"
            )
        if not self.layers:
            self._begin(firings)
        if names != self.layers:
            raise ValueError(f"layers changed within an epoch: {self.layers}, then {names}")
        self.samples = self.samples + len(firings[names[0]].counts)
        for i, firing in enumerate(firings.values()):
            counts, steps = getattr(self, f"counts_{i}"), getattr(self, f"steps_{i}")
            if firing.counts.shape[1:] != counts.shape:
                raise ValueError(
                    f"layer {names[i]} has neurons of shape {tuple(firing.counts.shape[1:])}, "
                    f"earlier in this epoch {tuple(counts.shape)}: rates of single neurons need "
                    "one input size"
                )
            setattr(self, f"counts_{i}", counts + firing.counts.sum(0, dtype=torch.int64))
            setattr(self, f"steps_{i}", steps + firing.steps * len(firing.counts))

    def _begin(self, firings: Mapping[str, Firing]) -> None:
        """Add the states of each layer, whose shapes only a forward tells."""
        self.layers = list(firings)
        for i, firing in enumerate(firings.values()):
            zeros = firing.counts.new_zeros(firing.counts.shape[1:], dtype=torch.int64)
            self.add_state(f"counts_{i}", zeros, dist_reduce_fx="sum")
            self.add_state(f"steps_{i}", zeros.new_zeros(()), dist_reduce_fx="sum")

    def compute(self) -> dict[str, Any]:
        """Return `{dt, samples, layers: {name: figures}, total: figures}` of plain numbers.

        Figures are `rate`, `hz`, `dead`, `spikes_per_neuron`, `neurons`. Every process must have
        seen a batch, else ValueError.
        """
        if not self.layers:
            raise ValueError("firing activity is asked for before any batch was seen")
        rows = []
        for i in range(len(self.layers)):
            counts, steps = getattr(self, f"counts_{i}"), getattr(self, f"steps_{i}")
            alive = (counts > 0).sum()
            rows.append(
                torch.stack([counts.sum(), alive, steps, torch.full_like(steps, counts.numel())])
            )
        # one transfer for the whole epoch
        *table, samples = [*torch.stack(rows).tolist(), int(self.samples)]
        layers = {
            name: self._figures([row], samples)
            for name, row in zip(self.layers, table, strict=True)
        }
        return {
            "dt": self.dt,
            "samples": samples,
            "layers": layers,
            "total": self._figures(table, samples),
        }

    def _figures(self, rows: list[list[int]], samples: int) -> dict[str, float | int | None]:
        """Equations (1) to (4) of the rows (spikes, neurons alive, steps, neurons) together."""
        spikes = sum(row[0] for row in rows)
        alive = sum(row[1] for row in rows)
        neurons = sum(row[3] for row in rows)
        rate = spikes / sum(row[2] * row[3] for row in rows)
        return {
            "rate": rate,
            "hz": None if self.dt is None else rate / self.dt,
            "dead": 1 - alive / neurons,
            "spikes_per_neuron": spikes / (neurons * samples),
            "neurons": neurons,
        }


def activity_scalars(
    activity: Mapping[str, Any], split: str, parts: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the metric keys of `Activity.compute()`, for the log.

    `<split>/rate` and `<split>/dead` over all neurons, `<split>/rate/<layer>` and
    `<split>/dead/<layer>` of each layer, all as shares. Of each of `parts`, which names modules
    that belong together, `<split>/part_rate/<part>` is the mean over the neurons of all layers in
    them.
    """
    scalars = {f"{split}/{key}": activity["total"][key] for key in ("rate", "dead")}
    for name, figures in activity["layers"].items():
        scalars |= {f"{split}/{key}/{name}": figures[key] for key in ("rate", "dead")}
    for part, modules in parts.items():
        of_part = [f for name, f in activity["layers"].items() if name.split(".")[0] in modules]
        if of_part:
            neurons = sum(f["neurons"] for f in of_part)
            rate = sum(f["rate"] * f["neurons"] for f in of_part) / neurons
            scalars[f"{split}/part_rate/{part}"] = rate
    return scalars
