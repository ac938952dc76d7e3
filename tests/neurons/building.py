"""Neurons with plain settings, for tests that change one of them."""

import torch

from snnexp.neurons.if_ import IF
from snnexp.neurons.lif import LIF
from snnexp.neurons.plif import PLIF
from snnexp.neurons.s2lif import S2LIF
from snnexp.surrogates import ATan

SCAN = {
    "v_th": 1.0,
    "v_reset": 0.0,
    "reset": "hard",
    "detach_reset": True,
    "surrogate": ATan(alpha=2.0),
    "backend": "reference",
}
S2 = {
    "leaky": True,
    "lateral": False,
    "decay_mean": 0.5,
    "decay_std": 0.0,
    "v_th_mean": 1.0,
    "v_th_std": 0.0,
    "detach_reset": False,
    "surrogate": ATan(alpha=2.0),
    "backend": "reference",
}


def if_(channels=1, **changes):
    return IF(channels, **SCAN | changes)


def lif(channels=1, **changes):
    return LIF(channels, **SCAN | {"tau": 2.0, "decay_input": True} | changes)


def plif(channels=1, **changes):
    return PLIF(channels, **SCAN | {"tau": 2.0, "decay_input": True} | changes)


def s2lif(channels=1, **changes):
    return S2LIF(channels, **S2 | changes)


def sequence(*values):
    """One neuron's input, [T, 1, 1]."""
    return torch.tensor(values)[:, None, None]


def spikes_of(out):
    return out.spikes.flatten().tolist()


def grid(*shape, low=-64, high=128):
    """Multiples of 1/64, whose sums and halves are exact."""
    return torch.randint(low, high, shape) / 64
