"""Time the LIF scan on an NVIDIA GPU: against the plain loop, SpikingJelly, the memory.

    python -m scripts.bench_gpu                            # the whole table, about a minute
    python -m scripts.bench_gpu --sizes 262144 --steps 16  # a part of it
    python -m scripts.bench_gpu --record outputs/bench.csv

Correctness comes first, in the same command: on inputs where no rounding can decide a spike, the
Triton kernels must give the reference's spikes, and its gradients closely, and every peer must give
our spikes. One difference ends the run. Then medians, by CUDA events, of runs in turns: x [T, N],
hard reset, detached, ATan. `call` is what a program sees, Python included; `graph` replays the same
launches from a CUDA graph, so that only the GPU's time is left, and is what is related to the
bandwidth of a copy of 1 GiB in the same run. Peers that are not installed are named and left out.

Only torch and triton are needed. Where the files came without their git repository, --commit says
which commit they are.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.bench_record import Row, append, origin, version
from snnexp.kernels.lif import lif
from snnexp.surrogates import ATan

SIZES = (4_096, 262_144, 2_097_152, 64 * 64 * 32 * 32)
STEPS = (4, 16, 32)
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
#: time of one group of programs, the fewest and the most rounds
SECONDS, LEAST, MOST = 0.25, 3, 60
#: of a gradient, against its largest number
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}

Layer = Callable[[Tensor], Tensor]
Program = Callable[[], Any]


def ours(backend: Any) -> Layer:
    """Return our scan with decay and gain 1/2 as a function of x_TN."""
    half, one = torch.tensor(0.5, device="cuda"), torch.tensor(1.0, device="cuda")

    def run(x: Tensor) -> Tensor:
        return lif(
            x,
            None,
            half,
            half,
            one,
            v_reset=0.0,
            reset="hard",
            detach_reset=True,
            surrogate=ATan(alpha=2.0),
            time_dim=0,
            channel_dim=1,
            backend=backend,
        ).spikes

    return run


def spikingjelly() -> Layer:
    """Return SpikingJelly's LIF layer with the same neuron.

    Since version 2 it chooses its kernel itself: its own CUDA code, else Triton, else torch.
    """
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
    ).cuda()

    def run(x: Tensor) -> Tensor:
        node.reset()
        spikes: Tensor = node(x)
        return spikes

    return run


def peers() -> dict[str, Layer]:
    """Return the layers of peers; name those that are not installed."""
    if find_spec("spikingjelly") is None:
        print("spikingjelly is not installed, left out: pip install 'spikingjelly>=2'")
        return {}
    return {"spikingjelly": spikingjelly()}


def exact_input(steps: int, n: int, dtype: torch.dtype) -> Tensor:
    """Draw odd multiples of 1/128 between -0.5 and 1.5.

    Over 16 steps at decay 1/2 all sums are exact in float32 and none equals the threshold.
    """
    return ((2 * torch.randint(-32, 96, (steps, n), device="cuda") + 1) / 128).to(dtype)


def gate(layers: dict[str, Layer]) -> None:
    """Compare all layers with the reference, or end the program."""
    torch.manual_seed(0)
    for dtype in DTYPES.values():
        x, grad = exact_input(16, 4_099, dtype), torch.randn(16, 4_099, device="cuda").to(dtype)
        results = {}
        for name, layer in layers.items():
            # float32 is what SpikingJelly's membranes are exact in
            if name == "spikingjelly" and dtype != torch.float32:
                continue
            given = x.clone().requires_grad_()
            spikes = layer(given)
            results[name] = spikes.detach(), torch.autograd.grad(spikes, given, grad)[0]
        spikes, expected = results["reference"]
        for name, (got, grad_x) in results.items():
            wrong = int((got != spikes).sum())
            if wrong:
                raise SystemExit(f"{name}, {dtype}: {wrong} of {x.numel()} spikes are wrong")
            error = float((grad_x - expected).abs().max() / expected.abs().max())
            if error > TOLERANCE[dtype]:
                raise SystemExit(f"{name}, {dtype}: gradients differ by {error:.1e} of the largest")
        print(f"correct, {dtype}: {int(spikes.sum()):,} spikes; {', '.join(results)}")


def medians(programs: dict[str, Program]) -> dict[str, float]:
    """Return the median time of each program in ms; the programs take turns."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    begin, rounds = time.perf_counter(), -2
    while rounds < LEAST or (rounds < MOST and time.perf_counter() - begin < SECONDS):
        for name, program in programs.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            program()
            end.record()
            end.synchronize()
            if rounds >= 0:
                times[name].append(start.elapsed_time(end))
        rounds += 1
    return {name: statistics.median(spent) for name, spent in times.items()}


def graphed(program: Program) -> Program:
    """Capture a program's launches, and return what replays them."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        program()
        program()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        program()
    return graph.replay


def peak_bytes(program: Program) -> int:
    """Return the most bytes that tensors hold during a call."""
    program()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    program()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def copy_gbps() -> float:
    """Return the rate at which a copy of 1 GiB reads and writes."""
    source = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * 2**30 / medians({"copy": lambda: target.copy_(source)})["copy"] / 1e6


class Bench:
    """Times all layers for one size after another, prints a line each and keeps the rows."""

    def __init__(self, layers: dict[str, Layer], copy: float) -> None:
        self.layers, self.copy = layers, copy
        self.rows: list[Row] = []

    def size(self, n: int, steps: int, dtype: str) -> None:
        """Time inference and forward + backward."""
        x = torch.randn(steps, n, device="cuda").to(DTYPES[dtype])
        grad = torch.randn(steps, n, device="cuda").to(x.dtype)
        given = {"n": n, "t": steps, "dtype": dtype}

        def training(layer: Layer) -> Program:
            leaf = x.detach().requires_grad_()
            return lambda: torch.autograd.grad(layer(leaf), leaf, grad)

        def inference(layer: Layer) -> Program:
            @torch.no_grad()
            def run() -> None:
                layer(x)

            return run

        for what, make, accesses in (
            ("lif inference", inference, 2),
            ("lif forward+backward", training, 5),
        ):
            self._group(what, given, make, accesses * x.nbytes)

    def _group(
        self, what: str, size: dict[str, Any], make: Callable[[Layer], Program], moved: int
    ) -> None:
        programs = {name: make(layer) for name, layer in self.layers.items()}
        ms = medians(programs)
        replay = graphed(programs["triton"])
        in_graph = medians({"triton": replay})["triton"]
        del replay
        line = f"{what:21}{size['n']:>10,} {size['t']:>3} {size['dtype']:>9}"
        for name, spent in ms.items():
            to = "reference" if name == "triton" else "triton"
            self.row(what, size, name, spent, moved, to, ms[to], peak_bytes(programs[name]))
            line += f"  {name} {spent:.3f}"
        self.row(f"{what}, graph", size, "triton", in_graph, moved)
        share = moved / in_graph / 1e6 / self.copy
        print(f"{line}  graph {in_graph:.4f}: {share:.0%} of the copy")

    def row(
        self,
        what: str,
        size: dict[str, Any],
        name: str,
        ms: float,
        moved: int,
        to: str | None = None,
        other_ms: float | None = None,
        peak: int | None = None,
    ) -> None:
        """Add one row; `ratio` is another program's time over this one's."""
        package = "torch" if name == "reference" else name
        self.rows.append(
            Row(
                what=what,
                **size,
                provider=name,
                device=torch.cuda.get_device_name(),
                ms=round(ms, 5),
                ratio_to=to,
                ratio=round(other_ms / ms, 3) if other_ms else None,
                peak_bytes=peak,
                gbps=round(moved / ms / 1e6, 1),
                peer=version(package),
            )
        )


def main() -> None:
    """Check, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--record", type=Path)
    parser.add_argument("--commit")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; python -m scripts.bench_kernels times the CPU")
    begin = time.perf_counter()
    layers = {"triton": ours("triton"), "reference": ours("reference"), **peers()}
    gate(layers)
    copy = copy_gbps()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {version('triton')}: "
        f"a copy moves {copy:,.0f} GB/s. Medians in ms:"
    )
    bench = Bench(layers, copy)
    size = {"n": 2**30, "t": 1, "dtype": "uint8"}
    bench.row("copy", size, "torch", 2 * 2**30 / copy / 1e6, 2 * 2**30)
    for n in options.sizes:
        for steps in options.steps:
            for dtype in options.dtypes:
                bench.size(n, steps, dtype)
                torch.cuda.empty_cache()
    print(f"{time.perf_counter() - begin:.0f} s in all")
    if options.record is not None:
        append(options.record, bench.rows, origin("scripts.bench_gpu", options.commit))
        print(f"{len(bench.rows)} rows appended to {options.record}")


if __name__ == "__main__":
    main()
