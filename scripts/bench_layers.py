"""What the benchmarks of the LIF scan time: layers, their passes, and the kernels by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.autograd import Function

from scripts.bench_peers import Peer
from snnexp.kernels import native
from snnexp.kernels.lif import Reset, lif
from snnexp.kernels.lif.settings import Scan
from snnexp.surrogates import ATan, Sigmoid

STEPS = 16

Layer = Callable[[Tensor], Tensor]


def layer(
    backend: Any = "cpu", reset: Reset = "hard", params: dict[str, Tensor] | None = None
) -> Layer:
    """Return our LIF scan, decay and gain 1/2, as a function of x_TBN."""
    given = {"decay": torch.tensor(0.5), "gain": torch.tensor(0.5), "v_th": torch.tensor(1.0)}
    given |= params or {}
    surrogate = ATan(alpha=2.0) if reset == "hard" else Sigmoid(alpha=10.0, scaled=False)

    def run(x: Tensor) -> Tensor:
        return lif(
            x,
            None,
            given["decay"],
            given["gain"],
            given["v_th"],
            v_reset=0.0,
            reset=reset,
            detach_reset=reset == "hard",
            surrogate=surrogate,
            time_dim=0,
            channel_dim=2,
            backend=backend,
        ).spikes

    return run


class _Nothing(Function):
    """What autograd and Python cost: memory of the right size forward and backward, unwritten."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.empty_like(grad)


def nothing(x: Tensor) -> Tensor:
    """Return what a function of autograd that computes nothing returns."""
    made: Tensor = _Nothing.apply(x)
    return made


def training(run: Layer, x: Tensor, grad: Tensor) -> Callable[[], None]:
    """Return a forward and backward pass, the gradient of x thrown away."""
    x = x.detach().requires_grad_()

    def step() -> None:
        torch.autograd.grad(run(x), x, grad)

    return step


def inference(run: Layer, x: Tensor) -> Callable[[], None]:
    """Return a forward pass that keeps nothing."""

    @torch.no_grad()
    def step() -> None:
        run(x)

    return step


def layers(x: Tensor, peers: dict[str, Peer], reference: bool) -> dict[str, tuple[Layer, Tensor]]:
    """Return by provider the plain LIF layer, and what it is given for x_TBN."""
    runs: dict[str, tuple[Layer, Tensor]] = {"cpu": (layer(), x)}
    if reference:
        runs["reference"] = (layer("reference"), x)
    return runs | {name: (peer.make(), x * peer.gain) for name, peer in peers.items()}


def bare_kernels(n: int) -> Iterator[tuple[str, Callable[[], None], int]]:
    """Yield the launch of each kernel into memory that exists, and the bytes that it moves."""
    from snnexp.kernels.lif import cpu

    x = torch.randn(STEPS, 1, n) + 0.5
    half, one = torch.tensor(0.5), torch.tensor(1.0)
    scan = Scan(0.0, "hard", True, "atan", (2.0,), time_dim=0, channel_dim=2, steps=None)
    neuron = (x, None, half, half, one, scan)
    forward, spikes = launch_of(lambda: cpu.forward(*neuron))
    yield "lif forward", forward, x.nbytes + sum(o.nbytes for o in spikes)
    grad = torch.randn_like(x)
    backward, grads = launch_of(lambda: cpu.backward(grad, None, *neuron, learned="none"))
    yield (
        "lif backward",
        backward,
        x.nbytes + grad.nbytes + sum(g.nbytes for g in grads),
    )


def launch_of(
    call: Callable[[], tuple[Tensor | None, ...]],
) -> tuple[Callable[[], None], list[Tensor]]:
    """Return the launch of the kernel that a call makes, and the outputs that it fills."""
    seen: list[tuple[Any, ...]] = []
    launch = native.run

    def watched(*given: Any) -> None:
        seen.append(given)
        launch(*given)

    with patch.object(native, "run", watched):
        outputs = call()
    return partial(launch, *seen[0]), [o for o in outputs if o is not None]
