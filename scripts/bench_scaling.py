"""Time and memory of the LIF layer against T and N, and of a training step against its batch.

    python -m scripts.bench_scaling                             # 90 s on two cores
    python -m scripts.bench_scaling --record outputs/bench.csv  # and append the rows to a csv
    python -m scripts.draw_scaling outputs/bench.csv outputs/figures/scaling.svg

The layer runs forward and backward on [T, 1, N] float32, ours beside the plain loop and the peers;
peers that loop in Python are left out of the largest. The step is that of `bench_steps`, ours
beside the same network with SpikingJelly's neurons; a row's `n` is its batch. The correctness
gates of `bench_kernels` and `bench_steps` run first, in the same command.

Memory is kept as `python -m snnexp` keeps it, for all alike. Times are medians of turns; a turn of
a small layer is many calls in a row. Peak memory is the most that torch's tensors hold during a
call: input and output gradient included for the layer, beyond weights and input for the step.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console

from scripts import bench_gate, bench_steps
from scripts.bench_kernels import (
    LARGEST_FOR_ALL,
    THREADS,
    TURN,
    Bench,
    table,
)
from scripts.bench_layers import STEPS, layers, training
from scripts.bench_peers import PEERS, Peer, installed
from scripts.bench_record import Row, append, origin
from scripts.bench_timing import peak_bytes
from scripts.draw_scaling import BY_BATCH, BY_N, BY_T
from snnexp.kernels import allocator

TIMES, NEURONS = (1, 2, 4, 8, 16, 32, 64, 128), 65_536
SIZES = (2_048, 8_192, 32_768, 131_072, 524_288, 2_097_152)
NET, BATCHES = "plif_net", (4, 8, 16, 32, 64)


def point(bench: Bench, what: str, n: int, t: int, peers: dict[str, Peer]) -> None:
    """Measure the layer at one size, by everybody who is fast enough there."""
    torch.manual_seed(0)
    x, grad = torch.randn(t, 1, n) + 0.5, torch.randn(t, 1, n)
    if n * t > LARGEST_FOR_ALL * STEPS:
        peers = {name: peer for name, peer in peers.items() if name == "spikingjelly"}
    programs = {
        name: training(run, given, grad)
        for name, (run, given) in layers(x, peers, reference=True).items()
    }
    held = x.nbytes + grad.nbytes
    bench.group(
        what,
        n,
        programs,
        TURN,
        t=dict.fromkeys(programs, t),
        peak_bytes={name: peak_bytes(program, held) for name, program in programs.items()},
    )


def steps_by_batch(console: Console, name: str, batches: Sequence[int], repeats: int) -> list[Row]:
    """Return the rows of a network's training step at each batch, once its neurons agree."""
    net = bench_steps.NETS[name]
    providers = [bench_steps.OURS]
    if find_spec("spikingjelly") is not None:
        agreed = bench_steps.check(replace(net, batch=min(batches)))
        console.print(f"equal: {agreed:,} spikes of {name} with SpikingJelly's neurons")
        providers.append(bench_steps.PEER)
    rows: list[Row] = []
    for batch in batches:
        console.print(f"training step of {name}, batch {batch}: {', '.join(providers)} ...")
        sized = replace(net, batch=batch)
        rows += bench_steps.compare(f"{BY_BATCH}{name}", sized, providers, repeats, memory=True)
    return rows


def main() -> None:
    """Check, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--times", type=int, nargs="+", default=TIMES, help="T")
    parser.add_argument("--neurons", type=int, default=NEURONS, help="N of the rows by T")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help=f"N, at T={STEPS}")
    parser.add_argument("--net", choices=list(bench_steps.NETS), default=NET)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each size of the layer")
    parser.add_argument("--repeats", type=int, default=3, help="of each training step")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(soft_wrap=True, width=max(Console().width, 150))
    console.print(allocator.keep_memory_warm())
    peers = installed()
    for line in bench_gate.check(("cpu",), peers):
        console.print(f"equal: {line}")
    bench = Bench(console, options.seconds, kept=True)
    for t in options.times:
        point(bench, BY_T, options.neurons, t, peers)
    for n in options.sizes:
        point(bench, BY_N, n, STEPS, peers)
    rows = bench.rows + steps_by_batch(console, options.net, options.batches, options.repeats)
    console.print(table(rows))
    absent = sorted(set(PEERS) - set(peers))
    if absent:
        console.print(f"not installed, left out: {', '.join(absent)} (pip install -e '.[bench]')")
    if options.record is not None:
        append(options.record, rows, origin("scripts.bench_scaling"))


if __name__ == "__main__":
    main()
