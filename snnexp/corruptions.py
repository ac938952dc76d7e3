"""Disturbances of a trained network's input or weights, to test how gracefully it fails.

Each is defined by an equation over seeded draws. Draws for an input belong to its item (seed and
place in the split): they depend neither on the batch nor on the device, and a stronger disturbance
takes away all that a weaker one did. Draws for a network are made once an evaluation.

Letters: B batch, T time, C channel; u ~ U(0, 1) and e ~ N(0, 1), independent in every place that
their indices name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from snnexp.data.base import DataError, TaskSpec
from snnexp.neurons.base import Neuron, NeuronOutput


class Corruption:
    """Nothing is disturbed: the base of all, and `corrupt=none`."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def input(self, x: Tensor, index: Tensor, spec: TaskSpec) -> Tensor:
        """Return the disturbed inputs [B, T, ...] (static: [B, ...]) of items `index` [B]."""
        return x

    @contextmanager
    def network(self, model: nn.Module) -> Iterator[None]:
        """Disturb the network while the context lasts; afterwards it is as it was."""
        yield

    def _draw(self, draw: Callable[..., Tensor], index: Tensor, shape: Sequence[int]) -> Tensor:
        """Draw [B, *shape], each item by a generator of its own."""
        return torch.stack(
            [draw(*shape, generator=_generator(self.seed, i)) for i in index.tolist()]
        ).to(index.device)


def _generator(*key: int) -> torch.Generator:
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def _share(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"corrupt.p={p} of {name} is a share and lies in [0, 1]")
    return p


def _cast(x: Tensor, like: Tensor) -> Tensor:
    """Bring a disturbed input back to its type: bytes are rounded and stay bytes."""
    if like.dtype == torch.uint8:
        return x.round().clamp(0, 255).to(torch.uint8)
    return x.to(like.dtype)


class Noise(Corruption):
    """x' = x + sigma e, in the units of the network's input (after scaling).

    With `snr_db` instead of `sigma`, of each item: sigma_b = rms(x_b) 10^(-snr_db / 20). Byte
    inputs are rounded and cut to 0..255.
    """

    def __init__(self, *, sigma: float | None, snr_db: float | None, seed: int) -> None:
        super().__init__(seed=seed)
        if (sigma is None) == (snr_db is None) or (sigma is not None and sigma < 0):
            raise ValueError(
                f"give corrupt.sigma (at least 0) or corrupt.snr_db, and null for the other; given "
                f"sigma={sigma}, snr_db={snr_db}"
            )
        self.sigma, self.snr_db = sigma, snr_db

    def input(self, x: Tensor, index: Tensor, spec: TaskSpec) -> Tensor:
        """Add noise to every value."""
        e = self._draw(torch.randn, index, x.shape[1:])
        if self.sigma is not None:
            return _cast(x + self.sigma * e, x)
        assert self.snr_db is not None  # one of the two is given
        rms = x.float().square().flatten(1).mean(1).sqrt() * 10 ** (-self.snr_db / 20)
        return _cast(x + rms.view(-1, *[1] * (x.dim() - 1)) * e, x)


class DropSteps(Corruption):
    """x'[b, t] = x[b, t] 1[u_bt >= p]: whole time steps become zero."""

    def __init__(self, *, p: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.p = _share("drop_steps", p)

    def input(self, x: Tensor, index: Tensor, spec: TaskSpec) -> Tensor:
        """Silence steps."""
        if spec.static:
            raise DataError(f"corrupt=drop_steps: the input of {spec.name} has no time steps")
        kept = self._draw(torch.rand, index, x.shape[1:2]) >= self.p
        return x * kept.view(*x.shape[:2], *[1] * (x.dim() - 2)).to(x.dtype)


class DropChannels(Corruption):
    """x'[b, t, c, ...] = x[b, t, c, ...] 1[u_bc >= p]: channels are silent in all steps."""

    def __init__(self, *, p: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.p = _share("drop_channels", p)

    def input(self, x: Tensor, index: Tensor, spec: TaskSpec) -> Tensor:
        """Silence the first axis of a step in places."""
        kept = self._draw(torch.rand, index, spec.step_shape[:1]) >= self.p
        shape = [len(x), *([] if spec.static else [1]), -1, *[1] * (len(spec.step_shape) - 1)]
        return x * kept.view(shape).to(x.dtype)


class DropPixels(Corruption):
    """x'[b, t, c, i] = x[b, t, c, i] 1[u_bi >= p]: places are silent in all steps and channels.

    A place i is what a step has behind its channels: a pixel, a mel or frequency band; where a
    step has one axis, a position on it.
    """

    def __init__(self, *, p: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.p = _share("drop_pixels", p)

    def input(self, x: Tensor, index: Tensor, spec: TaskSpec) -> Tensor:
        """Silence places."""
        places = spec.step_shape[1:] or spec.step_shape
        kept = self._draw(torch.rand, index, places) >= self.p
        return x * kept.view(len(x), *[1] * (x.dim() - 1 - len(places)), *places).to(x.dtype)


class DropEvents(Corruption):
    """x' ~ Binomial(x, 1 - p): each event that an input counts is lost with probability p.

    Serves inputs that are counts (event frames, packet histograms). A stronger disturbance is
    drawn anew here.
    """

    def __init__(self, *, p: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.p = _share("drop_events", p)

    def input(self, x: Tensor, index: Tensor, spec: TaskSpec) -> Tensor:
        """Thin the counts."""
        if (x < 0).any() or (x != x.round()).any():
            raise DataError(
                f"corrupt=drop_events: the input of {spec.name} does not count events; use "
                "corrupt=drop_pixels or corrupt=noise"
            )
        kept = [
            torch.binomial(
                item.cpu().float(),
                torch.full(item.shape, 1 - self.p),
                generator=_generator(self.seed, i),
            )
            for item, i in zip(x, index.tolist(), strict=True)
        ]
        return torch.stack(kept).to(x)


class _OfWeights(Corruption):
    """Base of disturbances of weights: parameters with more than one axis, not biases or leaks."""

    def weight(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """Return a disturbed weight."""
        raise NotImplementedError

    @contextmanager
    def network(self, model: nn.Module) -> Iterator[None]:
        """Disturb all weights; put the old ones back."""
        weights = [p for p in model.parameters() if p.dim() > 1]
        before = [p.detach().clone() for p in weights]
        try:
            with torch.no_grad():
                for i, p in enumerate(weights):
                    p.copy_(self.weight(p.cpu(), _generator(self.seed, i)))
            yield
        finally:
            with torch.no_grad():
                for p, old in zip(weights, before, strict=True):
                    p.copy_(old)


class DropWeights(_OfWeights):
    """w' = w 1[u >= p]: synapses are missing."""

    def __init__(self, *, p: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.p = _share("drop_weights", p)

    def weight(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """Take synapses away."""
        return w * (torch.rand(w.shape, generator=generator) >= self.p)


class NoisyWeights(_OfWeights):
    """w' = w + sigma std(w) e, the standard deviation over all weights of the layer.

    What imprecise analogue synapses do.
    """

    def __init__(self, *, sigma: float, seed: int) -> None:
        super().__init__(seed=seed)
        if sigma < 0:
            raise ValueError(f"corrupt.sigma={sigma} must be at least 0")
        self.sigma = sigma

    def weight(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """Shift every synapse."""
        return w + self.sigma * w.std() * torch.randn(w.shape, generator=generator)


class DropNeurons(Corruption):
    """s'[t, n] = s[t, n] 1[u_n >= p]: neurons of the spiking layers never fire, for all items."""

    def __init__(self, *, p: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.p = _share("drop_neurons", p)

    @contextmanager
    def network(self, model: nn.Module) -> Iterator[None]:
        """Silence neurons by hooks that run before those that count spikes."""
        layers = [m for m in model.modules() if isinstance(m, Neuron)]
        if not layers:
            raise DataError(
                f"corrupt=drop_neurons: {type(model).__name__} has no spiking layers; use "
                "corrupt=drop_weights"
            )
        handles = [
            layer.register_forward_hook(self._silence(i), prepend=True)
            for i, layer in enumerate(layers)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _silence(self, i: int) -> Callable[..., NeuronOutput]:
        def hook(layer: Neuron, args: object, output: NeuronOutput) -> NeuronOutput:
            count = output.count
            u = torch.rand(count.shape[1:], generator=_generator(self.seed, i))
            kept = (u >= self.p).to(count)
            spikes = output.spikes * kept.unsqueeze(0).unsqueeze(layer.time_dim)
            return output._replace(spikes=spikes.to(output.spikes.dtype), count=count * kept)

        return hook
