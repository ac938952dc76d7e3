"""Turn a rendered word into a recording: voice size, room, microphone, noise, gain, position.

Everything draws from the generator it is given, so one seed gives one recording.
Letters: N samples.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import fft, signal

RATE = 16_000
LENGTH = 16_000
_SCATTER_SECONDS = 0.06

Wave = NDArray[np.float32]
Rng = np.random.Generator


def to_wave(samples: bytes, rate: int, size: float) -> Wave:
    """Convert int16 samples at `rate` to a wave at 16 kHz without leading and trailing silence.

    `size` > 1 makes the speaker larger: slower and lower by that factor, formants included.
    """
    x = np.frombuffer(samples, np.int16).astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(x) > 0.01 * np.abs(x).max())
    x = x[loud[0] : loud[-1] + 1]
    padded = fft.next_fast_len(len(x) + rate // 50)
    x = np.pad(x, (0, padded - len(x)))
    return signal.resample(x, round(padded * size * RATE / rate)).astype(np.float32)


def coloured_noise(rng: Rng, n: int, slope: float) -> Wave:
    """Gaussian noise of unit power whose spectrum falls with f^-slope: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0)
    noise = np.fft.irfft(spectrum * f ** (-slope / 2), n)
    return (noise / noise.std()).astype(np.float32)


def record(rng: Rng, word: Wave) -> Wave:
    """Put a word into a noisy room, near the middle of about one second.

    Reverberation 50-300 ms at -30 to -12 dB, a tilt of the spectrum, coloured noise 12 to 40 dB
    below the word, peak between 0.05 and 0.9. One clip of ten is shorter than a second, as in
    the recordings of Google Speech Commands.
    """
    x = _tilt(rng, _reverberate(rng, word))
    n = LENGTH if rng.random() > 0.1 else int(rng.integers(12_000, LENGTH))
    x = x[:n]
    middle = (n - len(x)) / 2 + rng.normal(0, _SCATTER_SECONDS * RATE)
    start = int(np.clip(middle, 0, n - len(x)))
    clip = np.zeros(n, np.float32)
    clip[start : start + len(x)] = x
    snr = rng.uniform(12, 40)
    level = np.sqrt(np.mean(np.square(x))) * 10 ** (-snr / 20)
    clip += level * coloured_noise(rng, n, rng.uniform(0, 2))
    return clip * np.float32(rng.uniform(0.05, 0.9) / np.abs(clip).max())


def _reverberate(rng: Rng, x: Wave) -> Wave:
    n = int(rng.uniform(0.05, 0.3) * RATE)
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    tail *= 10 ** (rng.uniform(-30, -12) / 20) / np.sqrt(np.sum(np.square(tail)))
    return (x + signal.fftconvolve(x, tail)[: len(x)]).astype(np.float32)


def _tilt(rng: Rng, x: Wave) -> Wave:
    """First-order high or low shelf: the microphone's and the distance's colour."""
    a = rng.uniform(-0.3, 0.3)
    return signal.lfilter([1.0, a], [1.0], x).astype(np.float32)


def background(rng: Rng, kind: str, seconds: float, words: list[Wave]) -> Wave:
    """Return a long recording of one of the kinds in `BACKGROUNDS`, peak 0.5."""
    x = BACKGROUNDS[kind](rng, round(seconds * RATE), words)
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def _hum(rng: Rng, n: int, words: list[Wave]) -> Wave:
    t = np.arange(n) / RATE
    x = sum(
        rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6))
        for k in range(1, 12)
    )
    return (x + 0.1 * coloured_noise(rng, n, 1)).astype(np.float32)


def _clatter(rng: Rng, n: int, words: list[Wave]) -> Wave:
    hits = (rng.random(n) < 4 / RATE) * rng.uniform(0.2, 1, n)
    x = np.zeros(n)
    for f in rng.uniform(400, 4000, 5):
        ring = np.arange(RATE // 10) / RATE
        x += signal.fftconvolve(hits, np.exp(-60 * ring) * np.sin(2 * np.pi * f * ring))[:n]
    return (x / x.std() + 0.1 * coloured_noise(rng, n, 1)).astype(np.float32)


def _wind(rng: Rng, n: int, words: list[Wave]) -> Wave:
    gusts = np.interp(
        np.arange(n),
        np.arange(0, n + RATE, RATE // 2),
        rng.uniform(0.1, 1, 1 + (n + RATE - 1) // (RATE // 2)),
    )
    return (gusts * coloured_noise(rng, n, 1.5)).astype(np.float32)


def _babble(rng: Rng, n: int, words: list[Wave]) -> Wave:
    """Many voices at once, backwards, so that no command is heard in the silence class."""
    x = 0.02 * coloured_noise(rng, n, 1)
    for _ in range(12 * n // RATE):
        word = words[rng.integers(len(words))][:n]
        at = int(rng.integers(0, n - len(word) + 1))
        x[at : at + len(word)] += rng.uniform(0.2, 1) * word[::-1]
    return x


BACKGROUNDS = {
    "white_noise": lambda rng, n, words: coloured_noise(rng, n, 0),
    "pink_noise": lambda rng, n, words: coloured_noise(rng, n, 1),
    "hum": _hum,
    "clatter": _clatter,
    "wind": _wind,
    "babble": _babble,
}


def write_wav(path: Path, wave: Wave) -> None:
    """Write 16-bit PCM. The bytes go through Python's file, whose errors say `disk full`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, RATE, subtype="PCM_16", format="WAV")
    path.write_bytes(encoded.getvalue())
