"""SpikingJelly's side of the benchmark of whole steps: its neurons, its own networks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from snnexp.data.base import TaskSpec
from snnexp.kernels.layout import repeat_step
from snnexp.models.base import Model, ModelOutput
from snnexp.neurons.base import Neuron, NeuronOutput
from snnexp.neurons.lif import LIF
from snnexp.neurons.plif import PLIF
from snnexp.neurons.scan import ScanNeuron
from snnexp.surrogates import ATan, Sigmoid, Surrogate


def _sj(name: str) -> Any:
    return import_module(f"spikingjelly.activation_based.{name}")


def _multi_step(net: nn.Module) -> nn.Module:
    _sj("functional").set_step_mode(net, "m")
    return net


def fashion_mnist_net() -> nn.Module:
    """Return its PLIF network of Fashion-MNIST."""
    neuron, surrogate = _sj("neuron"), _sj("surrogate")
    return _multi_step(
        _sj("model.parametric_lif_net").FashionMNISTNet(
            spiking_neuron=neuron.ParametricLIFNode,
            init_tau=2.0,
            surrogate_function=surrogate.ATan(),
            detach_reset=True,
        )
    )


def sew_resnet18() -> nn.Module:
    """Return its SEW ResNet-18 with IF neurons."""
    neuron, surrogate = _sj("neuron"), _sj("surrogate")
    return _multi_step(
        _sj("model.sew_resnet").sew_resnet18(
            cnf="ADD",
            spiking_neuron=neuron.IFNode,
            surrogate_function=surrogate.ATan(),
            detach_reset=True,
        )
    )


class PeerNeuron(Neuron):
    """The twin of one of our neurons, computed by SpikingJelly in its multi-step mode."""

    def __init__(self, of: ScanNeuron) -> None:
        super().__init__(of.channels, of.time_dim, of.channel_dim)
        neuron = _sj("neuron")
        given: dict[str, Any] = {
            "v_threshold": float(of.v_th),
            "v_reset": of.v_reset if of.reset == "hard" else None,
            "surrogate_function": _peer_surrogate(of.surrogate),
            "detach_reset": of.detach_reset,
            "step_mode": "m",
        }
        if isinstance(of, LIF):
            decay_input = float(of.gain) != 1
            self.node = neuron.LIFNode(tau=of.tau, decay_input=decay_input, **given)
        elif isinstance(of, PLIF):
            tau = 1 / float(torch.sigmoid(of.w.detach()))
            self.node = neuron.ParametricLIFNode(init_tau=tau, decay_input=of.decay_input, **given)
        else:
            self.node = neuron.IFNode(**given)

    def forward(
        self,
        x: Tensor,
        v0: Tensor | None = None,
        weight: Tensor | None = None,
        steps: int | None = None,
    ) -> NeuronOutput:
        """Run the neurons over time, which SpikingJelly wants as the first axis and whole."""
        if steps is not None:
            x = repeat_step(x, self.time_dim, steps)
        spikes = self.node(x.movedim(self.time_dim, 0))
        v = self.node.v
        self.node.reset()
        return NeuronOutput(spikes.movedim(0, self.time_dim), v, v.new_empty(0))


def _peer_surrogate(of: Surrogate) -> Any:
    surrogate = _sj("surrogate")
    if isinstance(of, ATan):
        return surrogate.ATan(alpha=of.alpha)
    if isinstance(of, Sigmoid) and of.scaled:
        return surrogate.Sigmoid(alpha=of.alpha)
    raise SystemExit(f"no SpikingJelly twin of surrogate {of} is written down here")


class Batched(Model):
    """SpikingJelly's own network of a static image, fed and read as ours are."""

    def __init__(self, spec: TaskSpec, net: nn.Module, steps: int, vote: bool) -> None:
        super().__init__(spec)
        self.net, self.steps, self.vote = net, steps, vote

    def forward(self, x: Tensor) -> ModelOutput:
        """Show the image `steps` times; reset afterwards."""
        out_TBK = self.net(x[None].repeat(self.steps, *[1] * x.ndim))
        _sj("functional").reset_net(self.net)
        return ModelOutput(out_TBK.mean(0))


def swap(module: nn.Module) -> None:
    """Put SpikingJelly's twin in the place of every neuron layer below `module`."""
    for name, child in module.named_children():
        if isinstance(child, ScanNeuron):
            setattr(module, name, PeerNeuron(child))
        else:
            swap(child)
