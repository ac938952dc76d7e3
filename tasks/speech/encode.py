"""Clips to features: log-mel spectrogram with two orders of deltas, scaled.

    x = clip / max|clip|, zero-padded on both sides to 16,000 samples                        (1)
    S = mel(|STFT(x)|^2), 30 ms Hann windows every 10 ms, 40 Slaney bands 20-4,000 Hz         (2)
    L = log(1 + S / max S)                                                                    (3)
    features = [L, delta(L), delta^2(L)], librosa's deltas (Savitzky-Golay, 9 frames)         (4)
    features / std over time, per clip, delta order and band; zero std counts as 1            (5)

Source: the public code of Pellegrini, Zimmer and Masquelier, SLT 2021. Filters and deltas are
librosa's; the STFT is torch's, equal to librosa's within 1e-6 (tested), so that augmented clips
take the same way as cached ones (librosa's own STFT also compiles for 15 s at its first import).

Letters: B batch, T time (101 steps of 10 ms), F mel bands (40), N samples (16,000).
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import joblib
import numpy as np
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from snnexp.data.base import DataError, Split

SAMPLE_RATE = 16_000
LENGTH = 16_000
N_FFT, HOP, N_MELS, F_MIN, F_MAX = 480, 160, 40, 20.0, 4000.0
N_STEPS = 1 + LENGTH // HOP
DT = HOP / SAMPLE_RATE
_CHUNK = 128

PadMode = Literal["reflect", "constant"]
ScalingMode = Literal["clip_and_batch", "clip", "clip_and_train", "train"]
OnBadFile = Literal["error", "skip"]


Recording = Callable[[str], NDArray[np.float32]]


class Item(NamedTuple):
    """One clip: a file, or the second of a long recording that starts at sample `start`."""

    path: str
    target: int
    start: int | None = None


class BadFileError(DataError):
    """A file that is no usable recording."""

    def __init__(self, path: str | Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}. Replace the file, or set task.on_bad_file=skip to leave out such "
            "files and count them"
        )
        self.path, self.why = str(path), why


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], list[str]]:
    """Read a wav file as a 16 kHz mono wave; also say which conversions that took.

    Channels are averaged, other rates are resampled (torchaudio, band-limited).
    Raises BadFileError for a file that is empty, truncated, not a wav file, or not finite.
    """
    path = Path(path)
    if path.suffix.lower() != ".wav":
        raise BadFileError(path, "not a .wav file, but it lies among the clips")
    _check_riff(path)
    try:
        wave, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise BadFileError(path, f"not a readable wav file ({error})") from error
    if len(wave) == 0:
        raise BadFileError(path, "an empty recording, without a single sample")
    if not np.isfinite(wave).all():
        raise BadFileError(path, "it holds values that are not finite")
    notes = []
    if wave.shape[1] > 1:
        notes.append("clips mixed down to mono")
    mono = wave.mean(axis=1)
    if rate != SAMPLE_RATE:
        notes.append("clips resampled to 16 kHz")
        resampled = torchaudio.functional.resample(torch.from_numpy(mono), rate, SAMPLE_RATE)
        mono = resampled.numpy()
    return mono, notes


def _check_riff(path: Path) -> None:
    """Refuse what libsndfile would read in part without a word: fewer bytes than promised."""
    with path.open("rb") as file:
        head = file.read(12)
    size = path.stat().st_size
    if size == 0:
        raise BadFileError(path, "an empty file (0 bytes)")
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise BadFileError(path, f"not a wav file (it begins with {head[:4]!r}, expected b'RIFF')")
    promised = 8 + int.from_bytes(head[4:8], "little")
    # Streaming writers leave 0xFFFFFFFF; one byte may be a missing pad byte.
    if promised < 2**32 and promised > size + 1:
        raise BadFileError(path, f"truncated: {size} bytes of the {promised} its header promises")


def read_item(item: Item, recording: Recording) -> tuple[NDArray[np.float32], list[str]]:
    """Return one second of sound [N], centred between zeros where it is shorter.

    `recording` reads the long files that silence is cut from; the caller keeps them.
    """
    if item.start is not None:
        return recording(item.path)[item.start : item.start + LENGTH], []
    wave, notes = read_audio(item.path)
    if len(wave) > LENGTH:
        first = (len(wave) - LENGTH) // 2
        return wave[first : first + LENGTH], [*notes, "clips cut to their middle second"]
    left = (LENGTH - len(wave)) // 2
    return np.pad(wave, (left, LENGTH - len(wave) - left)), notes


@lru_cache
def _mel_filters() -> Tensor:
    from librosa.filters import mel

    return torch.from_numpy(mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=F_MIN, fmax=F_MAX))


@lru_cache
def _delta_matrices() -> Tensor:
    """Deltas are linear in the frames: [2, T, T], columns are librosa's deltas of unit frames."""
    from librosa.feature.utils import delta

    unit = np.eye(N_STEPS)
    both = np.stack([delta(unit, order=order, axis=0) for order in (1, 2)])
    return torch.from_numpy(both.astype(np.float32))


def log_mel(waves_BN: Tensor, pad_mode: PadMode) -> Tensor:
    """Equations (1) to (3): waves [B, N] to log-mel spectrograms [B, T, F].

    Digital silence gives zeros. `pad_mode` is how the STFT continues the clip beyond its ends:
    `reflect` was librosa's default when the paper was written, `constant` (zeros) is today's.
    """
    peak = waves_BN.abs().amax(dim=1, keepdim=True)
    x = waves_BN / torch.where(peak > 0, peak, 1.0)
    window = torch.hann_window(N_FFT, dtype=x.dtype, device=x.device)
    spectrum = torch.stft(
        x, N_FFT, HOP, window=window, center=True, pad_mode=pad_mode, return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mel = (_mel_filters().to(x) @ power).transpose(1, 2)
    top = mel.amax(dim=(1, 2), keepdim=True)
    return torch.log1p(mel / torch.where(top > 0, top, 1.0))


def add_deltas(logmel_BTF: Tensor) -> Tensor:
    """Equation (4): [B, T, F] to [B, T, 3, F]."""
    d1, d2 = _delta_matrices().to(logmel_BTF)
    return torch.stack([logmel_BTF, d1 @ logmel_BTF, d2 @ logmel_BTF], dim=2)


def _one_for_zero(std: Tensor) -> Tensor:
    return torch.where(std > 0, std, 1.0)


class Scaling:
    """Equation (5) and what follows it; no mode removes the mean.

    `clip_and_batch` then divides by the std over batch and time (the authors: a clip's features
    depend on its batch, also in the test). `clip` stops at (5). `clip_and_train` then divides by
    the std over the training set and time. `train` does that without (5).
    """

    def __init__(self, mode: ScalingMode) -> None:
        self.mode = mode
        self.train_std: Tensor | None = None

    def fit(self, logmel_NTF: Tensor) -> None:
        """Measure the training set's std per delta order and band, where the mode needs it."""
        if self.mode not in ("clip_and_train", "train"):
            return
        total, square, n = torch.zeros(3, N_MELS), torch.zeros(3, N_MELS), 0
        for chunk in logmel_NTF.split(512):
            x = self._clip(add_deltas(chunk)).double()
            total = total + x.sum(dim=(0, 1))
            square = square + x.square().sum(dim=(0, 1))
            n += x.shape[0] * x.shape[1]
        variance = square / n - (total / n).square()
        self.train_std = _one_for_zero(variance.clamp(min=0).sqrt()).float()

    def _clip(self, x: Tensor) -> Tensor:
        if self.mode == "train":
            return x
        return x / _one_for_zero(x.std(dim=1, keepdim=True, correction=0))

    def __call__(self, x_BTOF: Tensor) -> Tensor:
        """Scale features [B, T, 3, F]."""
        x = self._clip(x_BTOF)
        if self.mode == "clip_and_batch":
            return x / _one_for_zero(x.std(dim=(0, 1), keepdim=True, correction=0))
        if self.mode == "clip":
            return x
        if self.train_std is None:
            raise RuntimeError(f"scaling {self.mode} is used before fit()")
        return x / self.train_std


def write_features(
    items: Mapping[Split, Sequence[Item]], folder: Path, pad_mode: PadMode, on_bad_file: OnBadFile
) -> None:
    """Write `<split>.f32` ([n, T, F], raw) of each split and index.json (paths, targets, notes)."""

    def encode(waves: list[NDArray[np.float32]]) -> NDArray[Any]:
        return log_mel(torch.from_numpy(np.stack(waves)), pad_mode).numpy()

    _write(items, folder, "f32", encode, on_bad_file, "Computing features")


def write_waves(
    items: Mapping[Split, Sequence[Item]], folder: Path, on_bad_file: OnBadFile
) -> None:
    """Write `<split>.i16` ([n, N], raw): the sound itself, for augmentation."""

    def encode(waves: list[NDArray[np.float32]]) -> NDArray[Any]:
        return np.clip(np.rint(np.stack(waves) * 32768), -32768, 32767).astype(np.int16)

    _write(items, folder, "i16", encode, on_bad_file, "Reading waves")


def _write(
    items: Mapping[Split, Sequence[Item]],
    folder: Path,
    suffix: str,
    encode: Callable[[list[NDArray[np.float32]]], NDArray[Any]],
    on_bad_file: OnBadFile,
    what: str,
) -> None:
    recording = lru_cache(maxsize=16)(lambda path: read_audio(path)[0])

    def work(chunk: Sequence[Item]) -> tuple[NDArray[Any] | None, list[Item], list[str], list[str]]:
        waves, kept, notes, bad = [], [], [], []
        for item in chunk:
            try:
                wave, converted = read_item(item, recording)
            except BadFileError as error:
                if on_bad_file == "error":
                    raise
                bad.append(f"{error.path}: {error.why}")
                continue
            waves.append(wave)
            kept.append(item)
            notes += converted
        return (encode(waves) if waves else None), kept, notes, bad

    index: dict[str, Any] = {}
    notes: Counter[str] = Counter()
    bad: list[str] = []
    # Threads serve: soundfile and torch release the interpreter's lock, and nothing is copied.
    parallel = joblib.Parallel(joblib.cpu_count(), backend="threading", return_as="generator")
    for split, members in items.items():
        chunks = [members[i : i + _CHUNK] for i in range(0, len(members), _CHUNK)]
        kept: list[Item] = []
        # Plain writes, not a memory map: a full disk is an error here and a crash there.
        with (
            (folder / f"{split}.{suffix}").open("wb") as file,
            _closing(parallel(joblib.delayed(work)(chunk) for chunk in chunks)) as results,
        ):
            for array, some, said, skipped in track(results, f"{what}: {split}", total=len(chunks)):
                if array is not None:
                    file.write(array.tobytes())
                kept += some
                notes.update(said)
                bad += skipped
        index[split] = {"paths": [i.path for i in kept], "targets": [i.target for i in kept]}
    if bad:
        notes["files skipped"] = len(bad)
    index["notes"], index["skipped"] = dict(notes), bad
    (folder / "index.json").write_text(json.dumps(index))


@contextmanager
def _closing(results: Generator[Any, None, None]) -> Iterator[Generator[Any, None, None]]:
    """End the work that is still queued; joblib's warning about it would hide the real error."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def load_features(folder: Path, split: Split, n: int) -> Tensor:
    """Map the log-mel spectrograms [n, T, F] of a split; nothing is read until it is used."""
    shape = (n, N_STEPS, N_MELS)
    return torch.from_numpy(np.memmap(folder / f"{split}.f32", np.float32, "c", shape=shape))


def load_waves(folder: Path, split: Split, n: int) -> Tensor:
    """Map the waves [n, N] of a split as int16."""
    return torch.from_numpy(np.memmap(folder / f"{split}.i16", np.int16, "c", shape=(n, LENGTH)))
