"""The correctness gate of the kernels' benchmark.

On a dyadic grid (inputs odd multiples of 1/128, decay and gain 1/2, 16 steps) every sum is exact in
float32 and no membrane ever equals the threshold, so nobody's rounding and nobody's choice between
> and >= decides a spike: all must agree.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import get_args

import torch
from torch import Tensor

from scripts.bench_peers import Peer
from snnexp.kernels.backend import Backend
from snnexp.kernels.lif import LIFOutput, Reset, lif
from snnexp.surrogates import ATan


def exact_input(*shape: int) -> Tensor:
    """Return odd multiples of 1/128 between -0.5 and 1.5."""
    return (2 * torch.randint(-32, 96, shape) + 1) / 128


def check(providers: Iterable[Backend], peers: dict[str, Peer]) -> list[str]:
    """Compare all providers and peers; return what was compared, or end the program."""
    torch.manual_seed(0)
    done = [_provider(provider) for provider in providers]
    x = exact_input(16, 1, 4_099)
    expected = _scan("reference", x, "hard", True, learned=False)[0].spikes
    for name, peer in peers.items():
        spikes = peer.make()(x * peer.gain)
        wrong = int((spikes != expected).sum())
        if wrong:
            raise SystemExit(f"{name} differs from the reference in {wrong} of {x.numel()} spikes")
        done.append(f"{name}: {int(expected.sum()):,} spikes of {x.numel():,} places")
    return done


def _provider(provider: Backend) -> str:
    cases = list(
        itertools.product(
            get_args(Reset), (True, False), (True, False), (torch.float32, torch.bfloat16)
        )
    )
    for reset, detach, learned, dtype in cases:
        x = exact_input(16, 3, 8, 43).to(dtype)
        expected, grads = _scan("reference", x, reset, detach, learned=learned)
        got, got_grads = _scan(provider, x, reset, detach, learned=learned)
        case = f"backend={provider}, reset={reset}, detach={detach}, {dtype}"
        if not all(torch.equal(a, b) for a, b in zip(got, expected, strict=True)):
            raise SystemExit(f"{case}: spikes, membranes or counts differ from the reference")
        tolerance = 1e-4 if dtype == torch.float32 else 2e-2
        for a, b in zip(got_grads, grads, strict=True):
            scale = max(1.0, b.abs().max().item())
            if not torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale):
                raise SystemExit(f"{case}: gradients differ by up to {(a - b).abs().max()}")
    return f"backend={provider}: outputs and gradients of {len(cases)} settings"


def _scan(
    backend: Backend, x: Tensor, reset: Reset, detach: bool, *, learned: bool
) -> tuple[LIFOutput, list[Tensor]]:
    size = (x.shape[2],) if learned else ()
    values = (0.5, 0.5, 1.0)
    params = [torch.full(size, v, requires_grad=learned) for v in values]
    x = x.clone().requires_grad_()
    out = lif(
        x,
        None,
        *params,
        v_reset=0.0,
        reset=reset,
        detach_reset=detach,
        surrogate=ATan(alpha=2.0),
        time_dim=0,
        channel_dim=2,
        backend=backend,
    )
    weight = torch.linspace(-1, 1, x.numel(), dtype=torch.float32).view(x.shape).to(x.dtype)
    loss = (out.spikes * weight).float().sum() + out.v.sum()
    leaves = [x, *params] if learned else [x]
    return out, list(torch.autograd.grad(loss, leaves))
