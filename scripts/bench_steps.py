"""Whole training steps of the papers' networks, beside the same with SpikingJelly's neurons.

    python -m scripts.bench_steps                       # all networks
    python -m scripts.bench_steps --net plif_net        # one of them; may be repeated
    python -m scripts.bench_steps --record FILE.csv     # and append the rows to a csv

A step is forward, loss, backward and optimizer, on random input of the real size. The peer is the
same network with the same weights, of which only the neurons are SpikingJelly 2's, in its own
multi-step mode: what differs in time is the neurons and what they keep for the backward. Where
SpikingJelly has the paper's network of its own, that is a third row. It has none of StereoSpike,
whose authors wrote theirs with SpikingJelly's neurons and torch's layers: the third row is that,
each decoder layer and depth head an enlargement and a convolution, as our network is in
evaluation. The last row is our network's convolutions and matrix products alone: what a step would
take were all else free. Time constants are 2 steps, so that both sides compute exactly the same on
inputs that are multiples of 1/64.

The correctness gate runs first, in the same command: on every neuron layer's own drive, rounded to
that grid, spikes must be equal and gradients close. Peak memory is the most that torch's tensors
hold during a step, beyond weights and input.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn as nn
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scripts.bench_limit import products_of
from scripts.bench_record import Row, append, origin, processor, version
from scripts.bench_step_peers import Batched, PeerNeuron, fashion_mnist_net, sew_resnet18, swap
from scripts.bench_timing import medians, peak_bytes
from snnexp.config.compose import compose_config
from snnexp.data.base import TaskSpec
from snnexp.kernels import allocator
from snnexp.losses import Loss
from snnexp.models.base import Model
from snnexp.models.layers import fast_weights
from snnexp.neurons.base import Neuron
from snnexp.neurons.scan import ScanNeuron

OURS, PEER, ITS_OWN = "snnexp", "spikingjelly", "spikingjelly, its own network"
PUBLISHED = "spikingjelly, layers as published"
PRODUCTS = "snnexp, convolutions and products alone"


@dataclass(frozen=True)
class Net:
    """A network of a paper, on a batch of the real size."""

    model: str
    spec: TaskSpec
    batch: int
    overrides: tuple[str, ...] = ()
    #: builds SpikingJelly's own network for the same task, if it has one
    own: Callable[[], nn.Module] | None = None
    #: whether training computes otherwise than the paper's layers are written (evaluation does not)
    rewritten: bool = False


def _task(name: str, step: tuple[int, ...], classes: int, steps: int | None = None) -> TaskSpec:
    """Describe a task: of `classes` classes, or of depth where there is none."""
    return TaskSpec(
        name=name,
        kind="classification" if classes else "depth",
        step_shape=step,
        n_steps=steps,
        dt=None,
        classes=tuple(map(str, range(classes))),
    )


NETS = {
    "conv_snn": Net(
        "conv_snn",
        _task("speech", (3, 40), 12, steps=101),
        64,
        ("neuron@model.neuron=lif",),
    ),
    "plif_net": Net(
        "plif_net_mnist",
        _task("fashion_mnist", (1, 28, 28), 10),
        16,
        own=fashion_mnist_net,
    ),
    "sew_resnet18": Net(
        "sew_resnet18",
        _task("imagenet", (3, 224, 224), 1000),
        4,
        own=sew_resnet18,
    ),
    "stereospike": Net(
        "stereospike",
        _task("depth", (4, 260, 346), 0),
        1,
        ("model.neuron.tau=2",),
        rewritten=True,
    ),
}


def build(net: Net, provider: str) -> tuple[Model, Loss]:
    """Return a network and its loss; the weights depend on the network alone."""
    cfg = compose_config(["task=traffic", f"model={net.model}", "backend=auto", *net.overrides])
    torch.manual_seed(0)
    node = OmegaConf.create(OmegaConf.to_container(cfg.model, resolve=True))
    model: Model = instantiate(node, net.spec, _convert_="all")
    fast_weights(model, torch.device("cpu"))
    loss: Loss = instantiate(cfg.loss, _convert_="all")
    if provider in (PEER, PUBLISHED):
        swap(model)
    elif provider == ITS_OWN:
        assert net.own is not None
        model = Batched(net.spec, net.own(), cfg.model.n_steps, "votes" in cfg.model)
    return model.train(provider != PUBLISHED), loss


def batch(net: Net) -> tuple[Tensor, Tensor]:
    """Return random input, time first, and targets."""
    g = torch.Generator().manual_seed(1)
    steps = () if net.spec.n_steps is None else (net.spec.n_steps,)
    x = torch.randn(*steps, net.batch, *net.spec.step_shape, generator=g)
    if net.spec.kind == "depth":
        x = torch.poisson(torch.full(x.shape, 0.1), generator=g)
        depth = 2 + 3 * torch.rand(net.batch, 1, *net.spec.step_shape[1:], generator=g)
        return x, depth
    return x, torch.randint(len(net.spec.classes), (net.batch,), generator=g)


def stepper(net: Net, provider: str) -> Callable[[], None]:
    """Return a function that makes one training step."""
    model, loss = build(net, provider)
    x, target = batch(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    layers: list[Tensor] = []
    if (activity := loss.activity) is not None:
        for module in model.modules():
            if isinstance(module, Neuron):
                module.register_forward_hook(
                    lambda _module, _args, out: layers.append(activity.of_layer(out.spikes))
                )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        terms = loss(model(x).prediction, target, layers)
        layers.clear()
        terms["loss"].backward()
        optimizer.step()

    return step


def check(net: Net) -> int:
    """Compare every neuron layer with its peer on its own drive; return how many spikes agree.

    Raises SystemExit where a spike differs, or a gradient by more than 1e-4 of its size.
    """
    model, _ = build(net, OURS)
    drives: list[tuple[ScanNeuron, Tensor, int | None]] = []
    hooks = [
        module.register_forward_hook(
            lambda m, args, given, _: drives.append(
                (m, (args[0].detach() * 64).round() / 64, given.get("steps"))
            ),
            with_kwargs=True,
        )
        for module in model.modules()
        if isinstance(module, ScanNeuron)
    ]
    model(batch(net)[0])
    for hook in hooks:
        hook.remove()
    spiked = 0
    for index, (neuron, drive, steps) in enumerate(drives):
        if not torch.isfinite(neuron.v_th):
            continue
        results = []
        pair: tuple[Neuron, Neuron] = (neuron, PeerNeuron(neuron))
        for layer in pair:
            x = drive.clone().requires_grad_()
            out = layer(x, steps=steps)
            g = torch.Generator().manual_seed(index)
            out.spikes.backward(torch.randn(out.spikes.shape, generator=g))
            assert x.grad is not None
            results.append((out.spikes.detach(), x.grad))
        (mine, my_grad), (theirs, their_grad) = results
        if not torch.equal(mine, theirs):
            raise SystemExit(f"{net.model}: spikes of neuron layer {index} differ from the peer's")
        gap = float((my_grad - their_grad).abs().max() / their_grad.abs().max().clamp(min=1e-12))
        if gap > 1e-4:
            raise SystemExit(f"{net.model}: gradients of neuron layer {index} differ by {gap:.1e}")
        spiked += int(mine.sum())
    if not spiked:
        raise SystemExit(f"{net.model}: no neuron fired, so the comparison says nothing")
    return spiked


def measure(name: str, repeats: int, memory: bool) -> list[Row]:
    """Return the rows of one network: ours, SpikingJelly's where it is there, products alone."""
    net = NETS[name]
    providers = [OURS]
    if find_spec("spikingjelly") is not None:
        providers += [PEER, *[ITS_OWN] * (net.own is not None), *[PUBLISHED] * net.rewritten]
    providers.append(PRODUCTS)
    return compare(f"training step {name}", net, providers, repeats, memory)


def compare(what: str, net: Net, providers: Sequence[str], repeats: int, memory: bool) -> list[Row]:
    """Time the steps of a network by several providers in turns; the row's `n` is the batch."""
    steps = {
        p: products_of(stepper(net, OURS)) if p == PRODUCTS else stepper(net, p) for p in providers
    }
    times = medians(steps, seconds=0, least=repeats)
    return [
        Row(
            what=what,
            n=net.batch,
            t=net.spec.n_steps or build_steps(net),
            dtype="float32",
            provider=p,
            device=processor(),
            threads=torch.get_num_threads(),
            ms=times[p],
            ratio_to=PEER if p == OURS and PEER in times else None,
            ratio=times[PEER] / times[p] if p == OURS and PEER in times else None,
            peak_bytes=peak_bytes(steps[p], 0) if memory and p != PRODUCTS else None,
            peer=None if p in (OURS, PRODUCTS) else version("spikingjelly"),
        )
        for p in providers
    ]


def build_steps(net: Net) -> int:
    """Return the steps for which a static input is shown (1: the network has no time)."""
    cfg = compose_config(["task=traffic", f"model={net.model}"])
    return int(cfg.model.get("n_steps", None) or 1)


def main() -> None:
    """Check, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--net", action="append", choices=list(NETS), help="default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true", help="time only")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    allocator.keep_memory_warm()
    console = Console()
    if find_spec("spikingjelly") is None:
        console.print("spikingjelly is not installed, so there is no peer: pip install -e .[bench]")
    table = Table("network", "provider", "ms a step", "ms / ours", "peak MiB", "peak / ours")
    rows: list[Row] = []
    for name in options.net or NETS:
        if find_spec("spikingjelly") is not None:
            console.print(f"{name}: {check(NETS[name]):,} spikes agree with the peer; timing ...")
        found = measure(name, options.repeats, not options.no_memory)
        rows += found
        ours = found[0]
        for row in found:
            memory = (
                [f"{row.peak_bytes / 2**20:.0f}", f"{row.peak_bytes / ours.peak_bytes:.2f}"]
                if row.peak_bytes and ours.peak_bytes
                else ["", ""]
            )
            table.add_row(name, row.provider, f"{row.ms:.1f}", f"{row.ms / ours.ms:.2f}", *memory)
    console.print(table)
    if options.record is not None:
        append(options.record, rows, origin("scripts.bench_steps"))


if __name__ == "__main__":
    main()
