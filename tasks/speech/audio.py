"""Read recordings as one second of sound, and refuse what is none.

Letters: N samples (16,000).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray

from snnexp.data.base import DataError

SAMPLE_RATE = 16_000
LENGTH = 16_000

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
        with soundfile.SoundFile(str(path)) as file:
            wave, rate = _samples(file), file.samplerate
    except soundfile.SoundFileError as error:
        raise BadFileError(path, f"not a readable wav file ({error})") from error
    if len(wave) == 0:
        raise BadFileError(path, "an empty recording, without a single sample")
    if not np.isfinite(wave).all():
        raise BadFileError(path, "it holds values that are not finite")
    notes = []
    if wave.shape[1] > 1:
        notes.append("clips mixed down to mono")
    # NumPy's mean of one channel takes longer than the check above
    mono = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1)
    if rate != SAMPLE_RATE:
        notes.append("clips resampled to 16 kHz")
        resampled = torchaudio.functional.resample(torch.from_numpy(mono), rate, SAMPLE_RATE)
        mono = resampled.numpy()
    return mono, notes


def _samples(file: soundfile.SoundFile) -> NDArray[np.float32]:
    """Return all samples [N, channels], full scale 1."""
    if file.subtype != "PCM_16":
        return file.read(dtype="float32", always_2d=True)
    # the same bits sooner: libsndfile's own conversion is not vectorised
    return file.read(dtype="int16", always_2d=True) * np.float32(2**-15)


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
        notes = [*notes, "clips cut to their middle second"]
    return one_second(wave), notes


def one_second(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle second [N] of a longer wave, or a shorter one centred between zeros."""
    if len(wave) > LENGTH:
        first = (len(wave) - LENGTH) // 2
        return wave[first : first + LENGTH]
    left = (LENGTH - len(wave)) // 2
    second = np.zeros(LENGTH, np.float32)
    second[left : left + len(wave)] = wave
    return second
