"""Synaptic operations, energy and size of a network, after NeuroBench's definitions.

Yik et al., "The neurobench framework for benchmarking neuromorphic computing algorithms and
systems", Nat. Commun. 16:1545 (2025), complexity metrics.

Letters: B samples (time may be folded in: rows R), C input channels, K taps of a kernel.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle
from torchmetrics import Metric

from snnexp.neurons.base import Neuron, NeuronOutput

#: energy of one 32-bit float operation in 45 nm CMOS at 0.9 V, in pJ: an addition, and a
#: multiplication (3.7 pJ) with the addition that follows it. Horowitz, "Computing's energy problem
#: (and what we can do about it)", ISSCC 2014, pp. 10-14, figure 1.1.9.
AC_PJ = 0.9
MAC_PJ = 4.6
ENERGY_FORMULA = (
    f"energy = {MAC_PJ} pJ x effective MACs + {AC_PJ} pJ x effective ACs "
    "(32-bit float, 45 nm; Horowitz, ISSCC 2014; memory access and neuron updates left out)"
)

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


class Seen(NamedTuple):
    """What one weighted layer saw in one call.

    `nonzero` [C, *space] counts, at each input position, the rows whose input is not zero.
    `fan_out` [C, *kernel] counts the non-zero weights that leave each input channel at each tap.
    `graded` is whether some input lies outside {-1, 0, 1}. `rows` is R.
    """

    nonzero: Tensor
    fan_out: Tensor
    graded: Tensor
    rows: int


def effective_operations(layer: Weighted, seen: Seen) -> Tensor:
    """Return the number of pairs (non-zero weight, non-zero input) that `layer` multiplied.

    NeuroBench reruns the layer on 0/1 indicators of input and weight and adds up the output,
    R C_out positions of it. The same integer, in another order of summation:

        sum_out conv(1[x != 0], 1[w != 0]) = sum_c sum_k fan_out[c, k] P[c, k]               (1)
        P[c, k] = sum_o nonzero[c, o stride + k dilation - padding]                          (2)

    where P counts the non-zero inputs a tap meets: rows are summed before, output channels are
    summed in fan_out, and no layer runs twice. All in int64, so the count is exact. Bias is no
    synapse.
    """
    if isinstance(layer, nn.Linear):
        return (seen.nonzero * seen.fan_out).sum()
    met = _pad(layer, seen.nonzero)
    for axis, (kernel, stride, dilation) in enumerate(_geometry(layer), start=1):
        # a view: [..., outputs, ..., taps]
        met = met.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    taps = len(layer.kernel_size)
    met = met.sum(dim=tuple(range(1, 1 + taps)))
    return (met * seen.fan_out).sum()


def dense_operations(layer: Weighted, space: tuple[int, ...], rows: int) -> int:
    """Return the pairs (weight, input) inside the input's bounds, whatever their values.

    `space` is the extent of the input without channels; zero padding is not an input.
    """
    if isinstance(layer, nn.Linear):
        return rows * layer.in_features * layer.out_features
    pairs = rows * layer.out_channels * layer.in_channels // layer.groups
    padding = _padding(layer)
    for d, (kernel, stride, dilation) in enumerate(_geometry(layer)):
        before, after = padding[d]
        outputs = (space[d] + before + after - dilation * (kernel - 1) - 1) // stride + 1
        positions = (
            o * stride + k * dilation - before for o in range(outputs) for k in range(kernel)
        )
        if layer.padding_mode == "zeros":
            pairs *= sum(0 <= position < space[d] for position in positions)
        else:
            pairs *= outputs * kernel
    return pairs


def _geometry(layer: _ConvNd) -> list[tuple[int, int, int]]:
    """(kernel, stride, dilation) of each axis."""
    return list(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True))


def _padding(layer: _ConvNd) -> list[tuple[int, int]]:
    """(before, after) of each axis, also where padding is 'same' or 'valid'."""
    flat = layer._reversed_padding_repeated_twice
    return [(flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2)]


def _pad(layer: _ConvNd, nonzero: Tensor) -> Tensor:
    """Pad counts as the layer pads its input: padding commutes with summing over rows."""
    flat = layer._reversed_padding_repeated_twice
    if layer.padding_mode == "zeros":
        return F.pad(nonzero, flat)
    # torch has no reflecting or circular padding of integers; float64 holds them exactly
    return F.pad(nonzero.double()[None], flat, mode=layer.padding_mode)[0].to(torch.int64)


class Probe:
    """Forward hooks on all Linear and Conv layers and all neurons of `model`.

    Nothing is counted until `recording` is set. A hook makes two reductions of the layer's input;
    what they give waits in `seen` until `SynOps.update`. Make it before `torch.compile`, which
    ignores hooks that come later.
    """

    def __init__(self, model: nn.Module) -> None:
        self.recording = False
        self.seen: dict[str, list[Seen]] = {}
        self.fired: dict[str, list[tuple[Tensor, int, int]]] = {}
        self.layers: dict[str, Weighted] = {}
        #: how many neurons a spike of each layer resets, in a lateral reset
        self.neurons: dict[str, int] = {}
        #: modules with a weight matrix that none of the hooks understands
        self.foreign: list[str] = []
        self._handles: list[RemovableHandle] = []
        for name, module in model.named_modules():
            name = name or type(module).__name__
            if isinstance(module, Weighted):
                self.layers[name] = module
                hook = module.register_forward_hook(partial(self._see, name), with_kwargs=True)
                self._handles.append(hook)
            elif isinstance(module, Neuron):
                self.neurons[name] = module.channels if getattr(module, "lateral", False) else 0
                self._handles.append(module.register_forward_hook(partial(self._fire, name)))
            matrices = any(p.dim() > 1 for p in module.parameters(recurse=False))
            if matrices and not isinstance(module, Weighted):
                self.foreign.append(name)

    def _see(
        self, name: str, layer: Weighted, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if not self.recording:
            return
        x = (args[0] if args else kwargs["input"]).detach()
        # the weight is read here, not at update: sharded weights are whole only in the forward
        active = layer.weight.detach() != 0
        if isinstance(layer, nn.Linear):
            x, fan_out = x.reshape(-1, layer.in_features), active.sum(0)
        else:
            space = len(layer.kernel_size)
            x = x.reshape(-1, *x.shape[-1 - space :])
            fan_out = active.unflatten(0, (layer.groups, -1)).sum(1).flatten(0, 1)
        self.seen.setdefault(name, []).append(_count(x, fan_out))

    def _fire(self, name: str, neuron: Neuron, args: Any, output: NeuronOutput) -> None:
        if self.recording:
            steps = output.spikes.shape[neuron.time_dim]
            spikes = output.count.detach().sum(dtype=torch.int64)
            self.fired.setdefault(name, []).append((spikes, output.count.numel(), steps))

    def clear(self) -> None:
        """Forget what was seen since the last update."""
        self.seen, self.fired = {}, {}

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _count(x: Tensor, fan_out: Tensor) -> Seen:
    """Count the inputs [R, C, *space] that are not zero; see whether all are in {-1, 0, 1}."""
    present = (x != 0).to(x.dtype)
    # sums of floats run several times faster than of booleans, and are exact up to 2^24 ones
    exact = torch.float32 if len(x) < 2**24 else torch.float64
    return Seen(
        nonzero=present.sum(0, dtype=exact).to(torch.int64),
        fan_out=fan_out,
        graded=(x.abs() != present).any(),
        rows=len(x),
    )


class SynOps(Metric):
    """Synaptic operations a sample, by layer and in total, with the energy they stand for.

    - effective operations: non-zero weight times non-zero input, over Linear and Conv1d-3d.
      They are ACs (an addition) in a layer whose inputs are all in {-1, 0, 1}, else MACs.
    - dense: all operations of those layers, as if every weight and input were 1. Padding is no
      input, bias no synapse; pooling and normalisation are not counted.
    - activation_sparsity: 1 - spikes / (neurons x steps) over all spiking layers.
    - membrane_updates: neurons x steps. NeuroBench counts only the steps at which a membrane
      changed; the op here does not keep the membrane of each step, so this is the figure of a
      clock-driven device that updates every neuron at every step.
    - energy: `ENERGY_FORMULA`. An estimate for comparing networks, not a measurement.

    NeuroBench decides AC or MAC for each call, so that its figure depends on how the data are cut
    into batches; here a layer that ever saw a graded input is a MAC layer for the whole epoch.

    In a neuron module with `lateral` True (s2lif) each spike resets all `channels` neurons of its
    position: that many ACs, in a row `<name>.lateral`, which NeuroBench does not know. Layers that
    never ran as modules, and modules with weights of a kind not counted here, are listed in
    `uncounted`.

    `update(samples)` takes the number of samples of the forward just made: only the caller knows it
    where time is folded into the batch. States are integers, summed over processes.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    table: Tensor
    graded: Tensor
    samples: Tensor
    spikes: Tensor
    updates: Tensor

    def __init__(self, probe: Probe, **distributed: Any) -> None:
        super().__init__(**distributed)
        self.probe = probe
        self.lateral = [name for name, fan_out in probe.neurons.items() if fan_out]
        self.rows = [*probe.layers, *(f"{name}.lateral" for name in self.lateral)]
        rows = len(self.rows)
        # columns: calls, effective, dense, non-zero inputs, inputs
        self.add_state("table", torch.zeros(rows, 5, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("graded", torch.zeros(rows, dtype=torch.int64), dist_reduce_fx="max")
        for state in ("samples", "spikes", "updates"):
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, samples: int) -> None:
        """Count what the probe saw since the last update as the work of `samples` samples."""
        probe = self.probe
        if not probe.seen and (probe.layers or not probe.fired):
            raise RuntimeError(
                "no layer was seen: set probe.recording = True before the forward; a Probe made "
                "after torch.compile sees nothing"
            )
        self.samples = self.samples + samples
        for name, layer in probe.layers.items():
            for seen in probe.seen.get(name, ()):
                self._add(
                    name,
                    effective_operations(layer, seen),
                    dense_operations(layer, tuple(seen.nonzero.shape[1:]), seen.rows),
                    seen.nonzero.sum(),
                    seen.nonzero.numel() * seen.rows,
                    seen.graded,
                )
        for name, firings in probe.fired.items():
            for spikes, neurons, steps in firings:
                self.spikes = self.spikes + spikes
                self.updates = self.updates + neurons * steps
                if name in self.lateral:
                    inputs, fan_out = neurons * steps, probe.neurons[name]
                    self._add(f"{name}.lateral", spikes * fan_out, inputs * fan_out, spikes, inputs)
        probe.clear()

    def _add(
        self,
        row: str,
        effective: Tensor,
        dense: int,
        active: Tensor,
        inputs: int,
        graded: Tensor | None = None,
    ) -> None:
        """Add one call of one row; out of place, as states may be inference tensors."""
        values: list[Tensor | int] = [1, effective, dense, active, inputs]
        filled = [v if isinstance(v, Tensor) else effective.new_full((), v) for v in values]
        here = torch.zeros_like(self.graded)
        here[self.rows.index(row)] = 1
        self.table = self.table + here[:, None] * torch.stack(filled)
        if graded is not None:
            self.graded = torch.maximum(self.graded, here * graded)

    def compute(self) -> dict[str, Any]:
        """Return the figures of one sample, in total and of each layer, as plain numbers."""
        samples, spikes, updates = (int(v) for v in (self.samples, self.spikes, self.updates))
        if samples == 0:
            raise ValueError("synaptic operations are asked for before any sample was seen")
        table = torch.cat([self.table, self.graded[:, None]], 1).tolist()
        layers = {
            name: _figures(row, samples)
            for name, row in zip(self.rows, table, strict=True)
            if row[0] > 0
        }
        macs, acs = (
            sum(f["effective"] for f in layers.values() if f["kind"] == kind)
            for kind in ("mac", "ac")
        )
        return {
            "samples": samples,
            "effective_macs": macs,
            "effective_acs": acs,
            "dense": sum(f["dense"] for f in layers.values()),
            "energy_nj": energy_nj(macs, acs),
            "energy_formula": ENERGY_FORMULA,
            "activation_sparsity": 1 - spikes / updates if updates else None,
            "membrane_updates": updates / samples,
            "layers": layers,
            "uncounted": self.probe.foreign + [name for name in self.rows if name not in layers],
        }


def _figures(row: list[int], samples: int) -> dict[str, Any]:
    _, effective, dense, active, inputs, graded = row
    kind = "mac" if graded else "ac"
    each = effective / samples
    return {
        "kind": kind,
        "effective": each,
        "dense": dense / samples,
        "input_sparsity": 1 - active / inputs,
        "energy_nj": energy_nj(each, 0) if graded else energy_nj(0, each),
    }


def energy_nj(macs: float, acs: float) -> float:
    """Return the energy of so many operations in nJ: `ENERGY_FORMULA`."""
    return (MAC_PJ * macs + AC_PJ * acs) / 1000


def size_figures(model: nn.Module) -> dict[str, float | int]:
    """Return the size of a network: parameters, bytes, connection sparsity.

    - parameters, trainable_parameters: numbers, each shared tensor once.
    - footprint_bytes: bytes of all parameters and buffers, zeros included (NeuroBench).
    - connection_sparsity: zero weights / all weights of the Linear and Conv layers (NeuroBench);
      0 for a network without such layers.
    """
    parameters, buffers = list(model.parameters()), list(model.buffers())
    weights = [m.weight.detach() for m in model.modules() if isinstance(m, Weighted)]
    total = sum(w.numel() for w in weights)
    zeros = total - sum(int(w.count_nonzero()) for w in weights)
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "footprint_bytes": sum(t.numel() * t.element_size() for t in [*parameters, *buffers]),
        "connection_sparsity": zeros / total if total else 0.0,
    }
