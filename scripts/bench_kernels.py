"""Time the LIF scan on the CPU: against the plain loop, other frameworks, and the memory.

    python -m scripts.bench_kernels                        # the whole table, 2 threads
    python -m scripts.bench_kernels --sizes 4096 --quick   # a first look
    python -m scripts.bench_kernels --record outputs/bench.csv

Correctness comes first, in the same command: on inputs where no rounding can decide a spike, every
provider must give the reference's spikes, and its gradients closely, and every peer must give our
spikes. One difference ends the run. Then medians of runs in turns, [16, 1, N] float32; a ratio is
the other's time over ours. What could not be measured is named. Of a small layer, a call right
after another framework's takes several times as long as one after its own kind, for neither code
nor data are in a cache; rows ", calls in a row" have turns of many calls. What a layer written in
Python cannot go below is timed beside the small ones: a function of autograd that computes nothing.

The process that trains (`python -m snnexp`) keeps freed memory, which a process that calls the
layers does not by itself. Both are timed: rows "(memory kept)" come from a process so set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scripts.bench_gate import check
from scripts.bench_layers import (
    STEPS,
    Layer,
    bare_kernels,
    inference,
    layer,
    layers,
    nothing,
    training,
)
from scripts.bench_peers import PEERS, Peer, installed
from scripts.bench_record import Row, append, origin, processor, version
from scripts.bench_timing import copy_gbps, medians, peak_bytes, saved_bytes
from snnexp.kernels import allocator
from snnexp.kernels.lateral import lateral
from snnexp.surrogates import Sigmoid

CHANNELS, THREADS = 64, 2
SIZES = (4_096, 262_144, 2_097_152)
MIDDLE = 262_144
#: peers as slow as this are left out where N is above it
LARGEST_FOR_ALL = 300_000
#: where N is below it, calls in a row are timed, too, in turns of so many seconds
SMALL, TURN = 10_000, 0.01
#: what the project promises: (what, N, provider, ratio to, at least)
BARS = (
    ("lif forward+backward", 4_096, "cpu", "spikingjelly", 15.0),
    ("lif forward+backward, calls in a row", 4_096, "cpu", "spikingjelly", 15.0),
    ("lif forward+backward", 262_144, "cpu", "spikingjelly", 7.0),
    ("lif forward+backward", 2_097_152, "cpu", "spikingjelly", 8.0),
    ("lif inference", 262_144, "cpu", "spikingjelly", 8.0),
    ("lif forward, kernel alone", 2_097_152, "cpu", "torch copy", 0.8),
    ("lif backward, kernel alone", 2_097_152, "cpu", "torch copy", 0.8),
    ("lif forward+backward, learned by channel", 262_144, "cpu plif", "cpu", 1 / 1.3),
    ("lif forward+backward, learned by channel", 262_144, "cpu s2lif", "cpu", 1 / 1.3),
    ("lif forward+backward, bfloat16", 262_144, "cpu bfloat16", "cpu", 1.0),
)

#: what marks rows of a process that keeps freed memory
KEPT = " (memory kept)"


class Bench:
    """Measures groups of rows; `rows` is what `--record` writes."""

    def __init__(self, console: Console, seconds: float, kept: bool) -> None:
        self.console, self.seconds, self.kept = console, seconds, kept
        self.rows: list[Row] = []
        self.device = processor()

    def group(
        self,
        what: str,
        n: int,
        programs: dict[str, Callable[[], Any]],
        turn: float = 0.0,
        **more: dict[str, Any],
    ) -> dict[str, float]:
        """Time programs by provider; ours is related to SpikingJelly's, the others to ours."""
        self.console.print(f"{what}, N={n:,}: {', '.join(programs)} ...")
        ms = medians(programs, self.seconds, turn=turn)
        first = "spikingjelly" if "spikingjelly" in ms else "reference"
        for provider, spent in ms.items():
            to = first if provider == "cpu" else "cpu"
            self.row(
                what,
                n,
                provider,
                spent,
                to if to in ms and to != provider else None,
                ms.get(to, spent) / spent,
                **{k: v[provider] for k, v in more.items() if provider in v},
            )
        return ms

    def row(
        self,
        what: str,
        n: int,
        provider: str,
        ms: float,
        to: str | None = None,
        ratio: float | None = None,
        dtype: str = "float32",
        t: int = STEPS,
        peak_bytes: int | None = None,
        gbps: float | None = None,
    ) -> None:
        """Add one row."""
        self.rows.append(
            Row(
                dtype=dtype,
                t=t,
                peak_bytes=peak_bytes,
                gbps=gbps,
                what=what + (KEPT if self.kept else ""),
                n=n,
                provider=provider,
                device=self.device,
                threads=torch.get_num_threads(),
                ms=ms,
                ratio_to=to,
                ratio=None if to is None else ratio,
                peer=version(provider),
            )
        )

    def layers(self, n: int, peers: dict[str, Peer]) -> None:
        """Time the plain LIF layer in training and in inference, ours and the peers'."""
        torch.manual_seed(0)
        x, grad = torch.randn(STEPS, 1, n) + 0.5, torch.randn(STEPS, 1, n)
        runs = layers(x, peers, reference=n <= LARGEST_FOR_ALL or not self.kept)
        if n < SMALL:
            runs["nothing"] = (nothing, x)
        programs = {name: training(run, given, grad) for name, (run, given) in runs.items()}
        peaks = {} if self.kept else {
            name: peak_bytes(programs[name], 2 * x.nbytes)
            for name in programs if name in ("cpu", "reference", "spikingjelly")
        }  # fmt: skip
        self.group("lif forward+backward", n, programs, peak_bytes=peaks)
        if n < SMALL:
            self.group("lif forward+backward, calls in a row", n, programs, TURN)
        programs = {name: inference(run, given) for name, (run, given) in runs.items()}
        self.group("lif inference", n, programs)
        if n < SMALL:
            self.group("lif inference, calls in a row", n, programs, TURN)

    def variants(self, n: int) -> None:
        """Time neurons with learned parameters a channel, and bfloat16, against the plain LIF."""
        torch.manual_seed(0)
        shape = (STEPS, n // (CHANNELS * 64), CHANNELS, 8, 8)
        x, grad = torch.randn(shape) + 0.5, torch.randn(shape)
        w = torch.zeros(CHANNELS, requires_grad=True)
        th = torch.ones(CHANNELS, requires_grad=True)
        norm = torch.full((CHANNELS,), 2.0)
        beta = torch.full((), 0.5, requires_grad=True)

        def plif() -> None:
            k = torch.sigmoid(w)
            run = layer(params={"decay": 1 - k, "gain": k})
            torch.autograd.grad(run(given), (given, w), grad)

        def s2lif() -> None:
            run = layer(reset="soft", params={"decay": beta, "gain": (1 - beta) / norm, "v_th": th})
            torch.autograd.grad(run(given), (given, beta, th), grad)

        given = x.detach().requires_grad_()
        half, half_grad = x.bfloat16(), grad.bfloat16()
        programs = {
            "cpu": training(layer(), x, grad),
            "cpu plif": plif,
            "cpu s2lif": s2lif,
            # what of s2lif's time is its reset and surrogate, and not what it learns
            "cpu s2lif, fixed": training(layer(reset="soft"), x, grad),
        }
        self.group("lif forward+backward, learned by channel", n, programs)

        def autocast(run: Layer, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return run(x)

        programs = {
            "cpu": training(layer(), x, grad),
            "cpu bfloat16": training(partial(autocast, layer()), half, half_grad),
        }
        saved = {
            "cpu": saved_bytes(lambda: layer()(given)),
            "cpu bfloat16": saved_bytes(lambda: autocast(layer(), half.clone().requires_grad_())),
        }
        self.console.print(f"saved for the backward, bytes: {saved}")
        dtypes = {"cpu bfloat16": "bfloat16"}
        self.group("lif forward+backward, bfloat16", n, programs, dtype=dtypes)

    def lateral(self) -> None:
        """Time the lateral reset at the size of a conv_snn layer of 8 clips."""
        torch.manual_seed(0)
        x = torch.randn(8, CHANNELS, 101, 40).contiguous(memory_format=torch.channels_last) * 2
        weight = torch.randn(CHANNELS, 256) / 16
        reset = weight @ weight.T / weight.square().sum(1)[:, None]

        def run(backend: Any, x: Tensor) -> Tensor:
            return lateral(
                x,
                None,
                torch.tensor(0.7),
                torch.full((CHANNELS,), 0.3),
                torch.ones(CHANNELS),
                reset,
                detach_reset=False,
                surrogate=Sigmoid(alpha=10.0, scaled=False),
                time_dim=2,
                channel_dim=1,
                backend=backend,
            ).spikes

        grad = torch.randn_like(x)
        programs = {b: training(partial(run, b), x, grad) for b in ("cpu", "reference")}
        n = x.numel() // x.shape[2]
        self.group("lateral reset forward+backward", n, programs, t=dict.fromkeys(programs, 101))

    def kernels_alone(self, n: int) -> None:
        """Time the compiled kernels without torch, as a share of a copy of as many bytes."""
        for what, run, moved in bare_kernels(n):
            ms = medians({"kernel": run}, self.seconds / 3)["kernel"]
            rate, copied = moved / ms / 1e6, copy_gbps(moved)
            self.row(f"{what}, kernel alone", n, "cpu", ms, "torch copy", rate / copied, gbps=rate)
            self.row(f"{what}, copy of as many bytes", n, "torch copy", moved / copied / 1e6,
                     gbps=copied)  # fmt: skip

    def first_calls(self) -> None:
        """Time the first call of a fresh process, without and with kernels compiled before."""
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                done = subprocess.run(
                    [sys.executable, "-m", "scripts.bench_kernels", "--first-call"],
                    env=os.environ | {"NUMBA_CACHE_DIR": cache},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                self.row(f"lif forward+backward, first call, {state} cache of kernels", 4_096,
                         "cpu", float(done.stdout))  # fmt: skip


def first_call() -> float:
    """Return the ms of this process's first forward and backward pass."""
    x = torch.randn(STEPS, 1, 4_096)
    step = training(layer(), x, torch.ones_like(x))
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def table(rows: list[Row]) -> Table:
    """Lay rows out for the screen."""
    out = Table(title=f"{rows[0].threads} threads of {rows[0].device}")
    for name in ("what", "N", "T", "provider", "ms", "ratio", "to", "GB/s", "peak MiB"):
        out.add_column(name, no_wrap=True)
    for r in rows:
        out.add_row(
            r.what,
            f"{r.n:,}",
            str(r.t),
            r.provider,
            f"{r.ms:.3g}",
            "" if r.ratio is None else f"{r.ratio:.2f}",
            r.ratio_to or "",
            "" if r.gbps is None else f"{r.gbps:.1f}",
            "" if r.peak_bytes is None else f"{r.peak_bytes / 2**20:.1f}",
        )
    return out


def verdicts(rows: list[Row]) -> Iterator[str]:
    """Say of each bar whether it was met."""
    for r in rows:
        for what, n, provider, to, least in BARS:
            of = (r.what.removesuffix(KEPT), r.n, r.provider, r.ratio_to)
            if of == (what, n, provider, to) and r.ratio is not None:
                met = "met" if r.ratio >= least else "NOT met"
                yield f"{r.what}, N={n:,}: {provider} {r.ratio:.2f} x {to}, bar {least:.2f}: {met}"


def main() -> None:
    """Check, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=6.0, help="for each group of rows")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--only", choices=("layers", "rest"), help="a part of the table")
    parser.add_argument("--keep-memory", action="store_true", help="as python -m snnexp does")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--first-call", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.first_call:
        print(first_call())
        return
    console = Console(soft_wrap=True, width=max(Console().width, 150))
    if options.keep_memory:
        console.print(allocator.keep_memory_warm())
    peers = installed()
    for line in check(("cpu",), peers):
        console.print(f"equal: {line}")
    bench = Bench(console, options.seconds, options.keep_memory)
    if options.only != "rest":
        for n in options.sizes:
            some = {k: v for k, v in peers.items() if n <= LARGEST_FOR_ALL or k == "spikingjelly"}
            bench.layers(n, some)
    if options.only != "layers":
        bench.variants(MIDDLE)
        bench.lateral()
        for n in options.sizes[1:]:
            bench.kernels_alone(n)
        bench.first_calls()
    console.print(table(bench.rows))
    for verdict in verdicts(bench.rows):
        console.print(verdict)
    absent = sorted(set(PEERS) - set(peers))
    if absent:
        console.print(f"not installed, left out: {', '.join(absent)} (pip install -e '.[bench]')")
    if options.record is not None:
        append(options.record, bench.rows, origin("scripts.bench_kernels"))


if __name__ == "__main__":
    main()
