"""How long a run takes until its first training step is done: imports, config, data, kernels.

    python -m scripts.bench_start
    python -m scripts.bench_start --record outputs/bench.csv -- task=traffic model=fc_snn

Each start is a process of its own, `python -m snnexp` with the words behind `--` (none: the default
run). One start goes before, untimed: it makes samples, features and compiled kernels, so that the
others find warm caches.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from scripts.bench_record import Row, append, origin, processor


class FirstStep(Callback):
    """Writes the time when the first training step is done to `path`, and ends the process."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write and leave: what would follow is not timed."""
        self.path.write_text(repr(time.time()))
        os._exit(0)


def watching(path: Path) -> str:
    """Return the override that has a run write to `path` and end."""
    return f"+callbacks.first_step={{_target_:scripts.bench_start.FirstStep,path:{str(path)!r}}}"


def start(words: list[str]) -> float:
    """Return the seconds from the start of a process to the end of its first training step."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "first_step")
        command = [sys.executable, "-m", "snnexp", *words, watching(told), f"output_dir={folder}"]
        began = time.time()
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if not told.exists():
            raise RuntimeError(f"{' '.join(command)} made no step:\n{ended.stdout}{ended.stderr}")
        return float(told.read_text()) - began


def main() -> None:
    """Time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", type=Path, help="csv to append the row to")
    parser.add_argument("words", nargs="*", help="of python -m snnexp, behind --")
    options = parser.parse_args()
    start(options.words)
    seconds = [start(options.words) for _ in range(options.repeats)]
    each = ", ".join(f"{s:.2f}" for s in seconds)
    Console().print(f"first training step after {median(seconds):.2f} s (median of {each})")
    if options.record is not None:
        row = Row(
            what=" ".join(["start to first training step", *options.words]),
            n=options.repeats,
            t=1,
            dtype="float32",
            provider="snnexp",
            device=processor(),
            threads=torch.get_num_threads(),
            ms=1000 * median(seconds),
        )
        append(options.record, [row], origin("scripts.bench_start"))


if __name__ == "__main__":
    main()
