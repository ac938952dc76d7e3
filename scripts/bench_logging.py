"""What counting costs: firing rates in a training step, synaptic operations in a test step.

    python -m scripts.bench_logging
    python -m scripts.bench_logging --record outputs/bench.csv

The network is conv_snn as `task=speech` builds it, on a batch of random features. A training step
is forward, loss and backward; what `snnexp.training.module` adds to it for the firing rates is
timed by itself, for it is less than a step's own spread. Operations are counted in tests only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from torch.nn.functional import cross_entropy

from scripts.bench_record import Row, append, origin, processor
from scripts.bench_timing import medians
from snnexp.config.compose import compose_config
from snnexp.data.base import TaskSpec
from snnexp.kernels import allocator
from snnexp.metrics.activity import Activity, Tape
from snnexp.metrics.synops import Probe
from snnexp.models.base import Model

STEPS, CLASSES = 101, 12


def build() -> Model:
    """Return the network of the speech task."""
    cfg = compose_config(["task=speech", "model=conv_snn"])
    spec = TaskSpec(
        name="speech",
        kind="classification",
        step_shape=(3, 40),
        n_steps=STEPS,
        dt=0.01,
        classes=tuple(map(str, range(CLASSES))),
    )
    node: Any = OmegaConf.create(OmegaConf.to_container(cfg.model, resolve=True))
    model: Model = instantiate(node, spec, _convert_="all")
    return model


def measure(batch: int, seconds: float) -> dict[str, float]:
    """Return the ms of a step and of what is counted in it."""
    torch.manual_seed(0)
    model = build()
    tape, probe, activity = Tape(model), Probe(model), Activity(0.01)
    x, target = torch.randn(STEPS, batch, 3, 40), torch.randint(CLASSES, (batch,))

    def train() -> None:
        model.zero_grad()
        cross_entropy(model(x).prediction, target).backward()

    @torch.no_grad()
    def test(count: bool) -> None:
        probe.recording = count
        model(x)
        probe.recording = False

    train()
    heard = dict(tape)

    @torch.no_grad()
    def rates() -> None:
        activity.update(heard)

    return medians(
        {
            "training step": train,
            "firing rates of a training step": rates,
            "test step": lambda: test(False),
            "test step with synaptic operations": lambda: test(True),
        },
        seconds,
    )


def main() -> None:
    """Time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    allocator.keep_memory_warm()  # as python -m snnexp does
    ms = measure(options.batch, options.seconds)
    console = Console()
    rows = []
    for what, spent in ms.items():
        step = ms["training step" if "training" in what else "test step"]
        share = f"{spent / step:.2%} of the step" if spent != step else ""
        console.print(f"conv_snn, batch {options.batch}, {what}: {spent:.3f} ms {share}")
        rows.append(
            Row(
                what=f"conv_snn {what}",
                n=options.batch,
                t=STEPS,
                dtype="float32",
                provider="cpu",
                device=processor(),
                threads=torch.get_num_threads(),
                ms=spent,
            )
        )
    if options.record is not None:
        append(options.record, rows, origin("scripts.bench_logging"))


if __name__ == "__main__":
    main()
