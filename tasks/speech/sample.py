"""The spoken sample: words rendered by espeak-ng, in the layout of Google Speech Commands.

A speaker is an accent x a voice variant x a size x a base pitch x a base rate; the variants (the
timbres) of the validation and test speakers are heard in no other split.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from rich.progress import track

from snnexp.data.base import DataError, Split
from snnexp.data.cache import cached
from snnexp.data.splits import assign_groups
from tasks.speech import espeak, recording
from tasks.speech.words import BACKGROUND, COMMANDS, OTHER_WORDS, TESTING_LIST, VALIDATION_LIST

ACCENTS = (
    "en-us",
    "en-us-nyc",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-scotland",
    "en-029",
)
# The library's variants that sound like people and like each other: no robots, no whispers, and
# none whose spectrogram of the same words is far from all others'. Nor any with breath (f2, f3, f5,
# sandro, victor), which the library does not render the same twice.
VARIANTS = (
    *("adam", "Alex", "announcer", "aunty", "benjamin", "caleb", "Denis", "Diogo"),
    *("ed", "edward", "edward2", "f1", "f4", "Gene", "Gene2", "grandma"),
    *("grandpa", "gustave", "Henrique", "Hugo", "iven", "iven2", "iven3", "iven4"),
    *("Jacky", "john", "klatt3", "klatt4", "klatt5", "klatt6", "m1", "m3"),
    *("m4", "m5", "m6", "m7", "marcelo", "Mario", "max", "Michael"),
    *("michel", "miguel", "Mike", "mike2", "Nguyen", "pablo", "paul", "quincy"),
    *("Reed", "rob", "robert", "steph", "steph2", "steph3"),
)
#: speakers rendered by one espeak process; a constant, because it decides the bytes
_CHUNK = 8
_SHARES: dict[Split, float] = {"train": 0.76, "val": 0.10, "test": 0.14}
_NOISE_SECONDS = 20.0


class Speaker(NamedTuple):
    """One voice of the sample; `size` scales the vocal tract, `rate` is in words per minute."""

    name: str
    split: Split
    accent: str
    variant: str
    size: float
    pitch: int
    rate: int


class Take(NamedTuple):
    """One clip to record: who says what for the n-th time, and how."""

    speaker: Speaker
    word: str
    n: int
    job: espeak.Job

    @property
    def path(self) -> str:
        """Place in the official layout."""
        return f"{self.word}/{self.speaker.name}_nohash_{self.n}.wav"


class SpeechSample:
    """Recipe of the sample; `build` writes it once and returns its folder.

    Each of `voices` speakers says each of the ten commands `takes` times and `others` of the 25
    other words of the official 35 once. The same recipe gives the same bytes on one machine.
    """

    def __init__(self, *, voices: int, takes: int, others: int, seed: int) -> None:
        if voices < 6 or takes < 1 or not 1 <= others <= len(OTHER_WORDS):
            raise DataError(
                f"task.sample: voices={voices}, takes={takes}, others={others}; expected "
                f"voices >= 6, takes >= 1 and others from 1 to {len(OTHER_WORDS)}"
            )
        self.voices, self.takes, self.others, self.seed = voices, takes, others, seed

    def build(self, cache_dir: Path) -> Path:
        """Return the sample's folder below `cache_dir`, rendering it where it is not there."""
        return cached(
            cache_dir / "samples" / "speech",
            key={
                "voices": self.voices,
                "takes": self.takes,
                "others": self.others,
                "seed": self.seed,
            },
            sources=[Path(__file__), espeak, recording],
            build=self.write,
            what="the spoken sample",
        )

    def write(self, root: Path) -> None:
        """Render all clips, the background noise and the lists into `root`."""
        speakers = self.speakers()
        chunks = [speakers[i : i + _CHUNK] for i in range(0, len(speakers), _CHUNK)]
        # Threads: espeak runs in processes of its own, and NumPy's transforms release the lock.
        parallel = joblib.Parallel(joblib.cpu_count(), backend="threading", return_as="generator")
        jobs = (
            joblib.delayed(_write_chunk)(
                root, [t for s in chunk for t in self.script(s)], self.seed
            )
            for chunk in chunks
        )
        takes: list[Take] = []
        for done in track(parallel(jobs), "Speaking the sample", total=len(chunks)):
            takes += done
        _write_background(root, takes, self.seed)
        _write_lists(root, takes)
        _write_speakers(root, speakers)

    def speakers(self) -> list[Speaker]:
        """Draw the speakers; a variant that is used twice stays within one split."""
        missing = sorted(set(VARIANTS) - set(espeak.variants()))
        if missing:
            raise DataError(
                f"the installed espeakng-loader lacks the voices {', '.join(missing)}; "
                "install espeakng-loader 0.2.4 or newer"
            )
        rng = np.random.default_rng([self.seed, 0])
        order = rng.permutation(len(VARIANTS))
        variants = [VARIANTS[order[i % len(order)]] for i in range(self.voices)]
        split_of = {
            variants[i]: split
            for split, rows in assign_groups(variants, _SHARES, self.seed).items()
            for i in rows
        }
        return [
            Speaker(
                name=hashlib.sha256(f"{self.seed}/{i}".encode()).hexdigest()[:8],
                split=split_of[variant],
                accent=ACCENTS[rng.integers(len(ACCENTS))],
                variant=variant,
                size=float(np.exp(rng.uniform(-0.07, 0.07))),
                pitch=int(rng.integers(30, 75)),
                rate=int(rng.integers(140, 205)),
            )
            for i, variant in enumerate(variants)
        ]

    def script(self, speaker: Speaker) -> list[Take]:
        """Return all that one speaker says."""
        rng = np.random.default_rng([self.seed, 1, int(speaker.name, 16)])
        others = [OTHER_WORDS[i] for i in rng.choice(len(OTHER_WORDS), self.others, replace=False)]
        spoken = [(w, n) for w in COMMANDS for n in range(self.takes)] + [(w, 0) for w in others]
        return [
            Take(
                speaker,
                word,
                n,
                espeak.Job(
                    word,
                    f"{speaker.accent}+{speaker.variant}",
                    speaker.rate + int(rng.integers(-15, 16)),
                    speaker.pitch + int(rng.integers(-8, 9)),
                ),
            )
            for word, n in spoken
        ]


def _rng(seed: int, take: Take) -> np.random.Generator:
    return np.random.default_rng([seed, 2, int(hashlib.sha256(take.path.encode()).hexdigest(), 16)])


def _words(takes: Sequence[Take]) -> list[recording.Wave]:
    rate, words = espeak.render([t.job for t in takes])
    return [recording.to_wave(w, rate, t.speaker.size) for w, t in zip(words, takes, strict=True)]


def _write_chunk(root: Path, takes: list[Take], seed: int) -> list[Take]:
    for take, word in zip(takes, _words(takes), strict=True):
        recording.write_wav(root / take.path, recording.record(_rng(seed, take), word))
    return takes


def _write_background(root: Path, takes: Sequence[Take], seed: int) -> None:
    """Write the noise recordings; the babble is of training speakers only."""
    rng = np.random.default_rng([seed, 3])
    words = _words([t for t in takes if t.speaker.split == "train"][:200])
    for kind in recording.BACKGROUNDS:
        wave = recording.background(rng, kind, _NOISE_SECONDS, words)
        recording.write_wav(root / BACKGROUND / f"{kind}.wav", wave)


def _write_lists(root: Path, takes: Sequence[Take]) -> None:
    for split, name in (("val", VALIDATION_LIST), ("test", TESTING_LIST)):
        paths = sorted(t.path for t in takes if t.speaker.split == split)
        (root / name).write_text("".join(f"{p}\n" for p in paths))


def _write_speakers(root: Path, speakers: Sequence[Speaker]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator=os.linesep)
    writer.writerow(Speaker._fields)
    writer.writerows(speakers)
    (root / "speakers.csv").write_text(table.getvalue())
