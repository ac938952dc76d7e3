"""Clips a second from wav files to features, beside librosa called for one clip after another.

    python -m scripts.bench_speech                      # clips of the spoken sample
    python -m scripts.bench_speech --clips FOLDER       # your own: all wav files below it
    python -m scripts.bench_speech --record outputs/bench.csv

Features are the log-mel spectrogram and two orders of deltas of tasks/speech/encode.py, before
scaling. Ours is timed as the task works: all clips into the cache, then batches out of it. "one
thread" is the same work in one thread of torch's, "cached" what a later epoch costs, "uncached"
the same features in one thread without writing them.
All features must be equal (within 2e-6) before anything is timed. Times are medians of several
repeats, in turns.

Letters: B batch, T time, O order of deltas, F mel bands.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from scripts.bench_record import Row, append, beside, origin, processor
from scripts.bench_timing import medians
from tasks.speech import encode
from tasks.speech.audio import SAMPLE_RATE, Item, one_second, read_audio
from tasks.speech.encode import PadMode, add_deltas, log_mel
from tasks.speech.sample import SpeechSample
from tasks.speech.store import load_features, write_features
from tasks.speech.words import BACKGROUND

#: clips a batch, and how the STFT goes on beyond a clip's ends: as configs/task/speech.yaml has it
BATCH = 64
PAD: PadMode = "reflect"
TOLERANCE = 2e-6

#: features [B, T, O, F], a piece of all clips after the other
Pieces = Iterator[NDArray[np.float32]]
Program = Callable[[], Pieces]


def first_epoch(folder: Path, paths: Sequence[Path]) -> Pieces:
    """Fill the cache, and give batches out of it."""
    items = [Item(str(path), 0) for path in paths]
    write_features({"train": items}, folder, PAD, "error")
    yield from later_epoch(folder, paths)


def later_epoch(folder: Path, paths: Sequence[Path]) -> Pieces:
    """Give batches out of the cache, gathered by index as the task's dataset does."""
    logmel = load_features(folder, "train", len(paths))
    for index in torch.arange(len(paths)).split(BATCH):
        yield add_deltas(logmel[index]).numpy()


def uncached(paths: Sequence[Path]) -> Pieces:
    """Give batches without a cache."""
    for i in range(0, len(paths), BATCH):
        waves = np.stack([one_second(read_audio(path)[0]) for path in paths[i : i + BATCH]])
        yield add_deltas(log_mel(torch.from_numpy(waves), PAD)).numpy()


def one_thread(program: Program) -> Pieces:
    """Run a program in one thread of torch's, and put back as many as there were."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from program()
    finally:
        torch.set_num_threads(before)


def of_librosa(paths: Sequence[Path]) -> Pieces:
    """Give the features by librosa's own functions, one clip at a time, in one thread."""
    librosa = import_module("librosa")
    with threadpool_limits(1):
        for path in paths:
            wave, _ = librosa.load(path, sr=SAMPLE_RATE)
            power = librosa.feature.melspectrogram(
                y=librosa.util.normalize(one_second(wave)),
                sr=SAMPLE_RATE,
                n_fft=encode.N_FFT,
                hop_length=encode.HOP,
                n_mels=encode.N_MELS,
                fmin=encode.F_MIN,
                fmax=encode.F_MAX,
                pad_mode=PAD,
            )
            logmel = np.log1p(power / power.max())
            deltas = [librosa.feature.delta(logmel, order=order) for order in (1, 2)]
            yield np.stack([logmel, *deltas]).transpose(2, 0, 1)[None]


def programs(folder: Path, paths: Sequence[Path]) -> dict[str, Program]:
    """Return what is compared, in an order in which the cache is written before it is read."""
    return {
        "snnexp": partial(first_epoch, folder, paths),
        "snnexp, cached": partial(later_epoch, folder, paths),
        "snnexp, one thread": partial(one_thread, partial(first_epoch, folder, paths)),
        "snnexp, uncached": partial(one_thread, partial(uncached, paths)),
        "librosa": partial(of_librosa, paths),
    }


def check(of: Mapping[str, Program]) -> None:
    """End the program where features differ from librosa's."""
    theirs = np.concatenate(list(of["librosa"]()))
    for name, program in of.items():
        mine = np.concatenate(list(program()))
        if not np.allclose(mine, theirs, rtol=0, atol=TOLERANCE):
            gap = np.abs(mine - theirs).max()
            raise SystemExit(f"features of {name} and librosa differ by up to {gap:.1e}")


def measure(folder: Path, paths: Sequence[Path], repeats: int) -> list[Row]:
    """Return a row for each program, once all features are equal."""
    of = programs(folder, paths)
    check(of)
    ms = medians({name: partial(_drain, p) for name, p in of.items()}, seconds=0, least=repeats)
    threads = {
        "snnexp": torch.get_num_threads(),
        "snnexp, cached": torch.get_num_threads(),
        "snnexp, one thread": 1,
        "snnexp, uncached": 1,
        "librosa": 1,
    }
    return beside("clips to speech features", len(paths), encode.N_STEPS, "int16", ms, threads)


def _drain(program: Program) -> None:
    for _ in program():
        pass


def clips(folder: Path) -> list[Path]:
    """Return the spoken wav files below a folder; recordings of noise are none."""
    return sorted(p for p in folder.rglob("*.wav") if p.parent.name != BACKGROUND)


def main() -> None:
    """Check equality, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clips", type=Path, help="folder of wav files (default: the sample's)")
    parser.add_argument("--voices", type=int, default=46, help="of the sample: 12 clips each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        sample = SpeechSample(voices=options.voices, takes=1, others=2, seed=0)
        paths = clips(options.clips or sample.build(Path(temporary)))
        if not paths:
            raise SystemExit(f"no wav file below {options.clips}")
        console.print(f"{len(paths):,} clips: checking, then timing ...")
        rows = measure(Path(temporary), paths, options.repeats)
    table = Table("program", "threads", "clips/s", "ratio", "to")
    table.title = f"{len(paths):,} clips to features, on {processor()}"
    for row in rows:
        rate, ratio = f"{1e3 * row.n / row.ms:,.0f}", f"{row.ratio:.2f}"
        table.add_row(row.provider, str(row.threads), rate, ratio, row.ratio_to)
    console.print(table)
    if options.record is not None:
        append(options.record, rows, origin("scripts.bench_speech"))


if __name__ == "__main__":
    main()
