"""The LIF layers of other frameworks, set to the same neuron: what `bench_kernels` compares with.

Letters: T time, B batch, N neurons.

All have hard reset to 0, threshold 1 and a decay of 1/2 a step. All but snnTorch's halve their
input as ours does; snnTorch's is given half the input, outside of what is timed. Surrogates are
each framework's arc tangent, or its default where it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor


class Peer(NamedTuple):
    """A peer's layer: `run` maps x_TBN, multiplied by `gain` before, to spikes."""

    package: str
    gain: float
    make: Callable[[], Callable[[Tensor], Tensor]]


def _spikingjelly() -> Callable[[Tensor], Tensor]:
    neuron = import_module("spikingjelly.activation_based.neuron")
    surrogate = import_module("spikingjelly.activation_based.surrogate")
    node = neuron.LIFNode(
        tau=2.0,
        decay_input=True,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(alpha=2.0),
        detach_reset=True,
        step_mode="m",
    )

    def run(x_TBN: Tensor) -> Tensor:
        node.reset()
        spikes: Tensor = node(x_TBN)
        return spikes

    return run


def _snntorch() -> Callable[[Tensor], Tensor]:
    leaky = import_module("snntorch").Leaky(beta=0.5, reset_mechanism="zero")

    def run(x_TBN: Tensor) -> Tensor:
        membrane, spikes = leaky.reset_mem(), []
        for x_BN in x_TBN:
            s_BN, membrane = leaky(x_BN, membrane)
            spikes.append(s_BN)
        return torch.stack(spikes)

    return run


def _norse() -> Callable[[Tensor], Tensor]:
    box = import_module("norse.torch.functional.lif_box")
    half_a_step = torch.tensor(500.0)  # 1/s, at dt 1 ms
    constants = box.LIFBoxParameters(tau_mem_inv=half_a_step)

    def run(x_TBN: Tensor) -> Tensor:
        state, spikes = box.LIFBoxFeedForwardState(v=torch.zeros_like(x_TBN[0])), []
        for x_BN in x_TBN:
            s_BN, state = box.lif_box_feed_forward_step(x_BN, state, constants)
            spikes.append(s_BN)
        return torch.stack(spikes)

    return run


def _sinabs() -> Callable[[Tensor], Tensor]:
    layers, activation = import_module("sinabs.layers"), import_module("sinabs.activation")
    layer = layers.LIF(
        tau_mem=2.0,
        train_alphas=True,
        spike_fn=activation.SingleSpike,
        reset_fn=activation.MembraneReset(),
    )
    layer.alpha_mem.requires_grad_(False).fill_(0.5)

    def run(x_TBN: Tensor) -> Tensor:
        layer.v_mem = torch.zeros_like(x_TBN[0])
        spikes: Tensor = layer(x_TBN.transpose(0, 1))
        return spikes.transpose(0, 1)

    return run


PEERS = {
    "spikingjelly": Peer("spikingjelly", 1.0, _spikingjelly),
    "snntorch": Peer("snntorch", 0.5, _snntorch),
    "norse": Peer("norse", 1.0, _norse),
    "sinabs": Peer("sinabs", 1.0, _sinabs),
}


def installed() -> dict[str, Peer]:
    """Return the peers that can be imported here."""
    return {name: peer for name, peer in PEERS.items() if find_spec(peer.package)}
