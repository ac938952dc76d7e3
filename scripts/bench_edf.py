"""Time to read an EDF recording into microvolts, beside MNE itself and edfio.

    python -m scripts.bench_edf                         # an hour of 23 channels at 256 Hz, of noise
    python -m scripts.bench_edf --recording FILE.edf    # your own
    python -m scripts.bench_edf --record outputs/bench.csv

Everybody returns all channels as [C, T] float32 in microvolts. The task's reader lets MNE read the
samples, after a check of its own of the header, and converts them: MNE is timed with the same
conversion. The signals must be equal within a thousandth of a microvolt before anything is timed.
The file is in the system's cache, so that no disk is timed. Times are medians, in turns.

Letters: C channels, T samples.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import edfio
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from scripts.bench_record import Row, append, beside, origin, processor
from scripts.bench_timing import medians
from tasks.seizure.edf import Montage, read_header, read_signals

#: a recording of CHB-MIT
CHANNELS, RATE, SECONDS = 23, 256, 3_600
#: in microvolts; a step of the recordings is ten times as large
TOLERANCE = 1e-3
PLAIN = Montage(channels=None, band=None, notch=None, rate=None)

Float32 = NDArray[np.float32]
Program = Callable[[], Float32]


def ours(path: Path) -> Float32:
    """Read as the task does."""
    return read_signals(path, read_header(path).labels, PLAIN)[0]


def of_mne(path: Path) -> Float32:
    """Read all channels with MNE, which gives volts in float64, without a copy for its own use."""
    mne = import_module("mne")
    raw = mne.io.read_raw_edf(path, preload=False, stim_channel=None, verbose="error")
    volts = raw.get_data(verbose="error")
    volts *= 1e6
    signals: Float32 = volts.astype(np.float32)
    return signals


def of_edfio(path: Path) -> Float32:
    """Read all channels with edfio, which gives the file's unit in float64."""
    return np.stack([signal.data for signal in edfio.read_edf(path).signals]).astype(np.float32)


PROGRAMS: dict[str, Callable[[Path], Float32]] = {
    "snnexp": ours,
    "mne": of_mne,
    "edfio": of_edfio,
}


def write_noise(path: Path, channels: int, rate: int, seconds: int) -> None:
    """Write a recording of noise, 50 microvolts strong."""
    rng = np.random.default_rng(0)
    edfio.Edf(
        [
            edfio.EdfSignal(
                np.clip(rng.normal(0, 50, rate * seconds), -800, 800),
                rate,
                label=f"C{k}",
                physical_dimension="uV",
                physical_range=(-800, 800),
            )
            for k in range(channels)
        ],
        data_record_duration=1,
    ).write(path)


def measure(path: Path, repeats: int) -> list[Row]:
    """Return a row for each program, once all signals are equal.

    Raises SystemExit where they are not.
    """
    mine = ours(path)
    for name, program in PROGRAMS.items():
        theirs = program(path)
        if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=0, atol=TOLERANCE):
            raise SystemExit(f"signals of {name} and snnexp differ in {path}")
    timed = {name: partial(program, path) for name, program in PROGRAMS.items()}
    ms = medians(timed, seconds=0, least=repeats)
    threads = dict.fromkeys(ms, torch.get_num_threads())
    channels, samples = mine.shape
    return beside("EDF to signals", channels, samples, "int16", ms, threads, package="mne")


def main() -> None:
    """Check equality, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--recording", type=Path, help="EDF file (default: noise)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of noise")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        path = options.recording or Path(temporary) / "noise.edf"
        if options.recording is None:
            write_noise(path, CHANNELS, RATE, options.seconds)
        console.print(f"{path.stat().st_size / 1e6:.0f} MB: checking, then timing ...")
        rows = measure(path, options.repeats)
        megabytes = path.stat().st_size / 1e6
    table = Table("program", "ms", "MB/s", "ratio", "to")
    table.title = f"{rows[0].n} channels of {rows[0].t:,} samples, on {processor()}"
    for row in rows:
        rate, ratio = f"{1e3 * megabytes / row.ms:,.0f}", f"{row.ratio:.2f}"
        table.add_row(row.provider, f"{row.ms:.0f}", rate, ratio, row.ratio_to)
    console.print(table)
    if options.record is not None:
        append(options.record, rows, origin("scripts.bench_edf"))


if __name__ == "__main__":
    main()
