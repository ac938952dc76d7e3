"""Render words with espeak-ng in a process of its own: `python espeak.py < jobs.json > words.bin`.

The library keeps state between words (phases, noise generators) that no call resets, is not
thread safe, and leaves the process on a fatal error. So one process renders one list of jobs in
order and ends, and the same jobs give the same bytes. Not so of voices with breath (a line `breath`
of two numbers or more in the variant's file): they differ from process to process, as if filters
began with whatever lies in memory. This file imports nothing heavy, because it is run many times.

Standard input: a JSON list of [word, voice, words per minute, pitch 0-99].
Standard output: int32 sampling rate, then for each job int32 count and count int16 samples.
"""

from __future__ import annotations

import array
import ctypes
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    """One word of one voice: espeak's own units (words per minute, pitch 0-99)."""

    word: str
    voice: str
    rate: int
    pitch: int


class EspeakError(RuntimeError):
    """The library could not be loaded, or refused a voice."""


# From the library's public header speak_lib.h.
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_POSITION_CHARACTER = 1
_RATE, _PITCH = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def render(jobs: Sequence[Job]) -> tuple[int, list[bytes]]:
    """Return the sampling rate and one string of int16 samples a job, from a fresh process.

    Raises EspeakError with the child's own words where it fails.
    """
    child = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())],
        input=json.dumps(jobs).encode(),
        capture_output=True,
        check=False,
    )
    if child.returncode != 0:
        raise EspeakError(
            f"espeak-ng could not render the spoken sample (exit {child.returncode}): "
            f"{child.stderr.decode(errors='replace').strip()}. Reinstall the package "
            "espeakng-loader, or use recordings: data=real data_dir=<folder>"
        )
    return _parse(child.stdout, len(jobs))


def _parse(stream: bytes, n_jobs: int) -> tuple[int, list[bytes]]:
    (rate,) = struct.unpack_from("=i", stream)
    words, at = [], 4
    for _ in range(n_jobs):
        (count,) = struct.unpack_from("=i", stream, at)
        words.append(stream[at + 4 : at + 4 + 2 * count])
        at += 4 + 2 * count
    return rate, words


def variants() -> list[str]:
    """Names of the voice variants that the installed library carries."""
    import espeakng_loader

    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return sorted(path.name for path in folder.iterdir())


class _Engine:
    """The library in this process; `say` returns int16 samples."""

    def __init__(self, data: str) -> None:
        import espeakng_loader

        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate = self.lib.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT)
        if self.rate <= 0:
            raise EspeakError(f"espeak_Initialize found no voices in {data}")
        self.samples = array.array("h")
        # ctypes keeps no reference of its own: the callback must outlive the calls.
        self.callback = _CALLBACK(self._receive)
        self.lib.espeak_SetSynthCallback(self.callback)

    def _receive(self, wave: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if wave and count > 0:
            self.samples.extend(wave[:count])
        return 0

    def say(self, job: Job) -> bytes:
        self.samples = array.array("h")
        if self.lib.espeak_SetVoiceByName(job.voice.encode()) != 0:
            raise EspeakError(f"espeak-ng has no voice {job.voice!r}")
        self.lib.espeak_SetParameter(_RATE, job.rate, 0)
        self.lib.espeak_SetParameter(_PITCH, job.pitch, 0)
        text = job.word.encode() + b"\0"
        status = self.lib.espeak_Synth(
            text, ctypes.c_size_t(len(text)), 0, _POSITION_CHARACTER, 0, _UTF8, None, None
        )
        if status != 0 or not self.samples:
            raise EspeakError(f"espeak-ng gave no sound for {job} (status {status})")
        return self.samples.tobytes()


def main() -> None:
    """Render the jobs of standard input to standard output."""
    import espeakng_loader

    jobs = [Job(*job) for job in json.load(sys.stdin)]
    with tempfile.TemporaryDirectory() as short:
        # The library cuts data paths at about 160 characters; a link keeps deep ones short.
        link = Path(short) / "espeak-ng-data"
        link.symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
        engine = _Engine(str(link))
        out = sys.stdout.buffer
        out.write(struct.pack("=i", engine.rate))
        for job in jobs:
            samples = engine.say(job)
            out.write(struct.pack("=i", len(samples) // 2) + samples)


if __name__ == "__main__":
    try:
        main()
    except EspeakError as error:
        sys.exit(str(error))
