"""The cache of features and sound: computed once, mapped into memory afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from snnexp.data.base import Split
from tasks.speech.audio import (
    LENGTH,
    BadFileError,
    Item,
    OnBadFile,
    Recording,
    read_audio,
    read_item,
)
from tasks.speech.encode import N_MELS, N_STEPS, PadMode, log_mel

#: clips encoded at once; for spectrograms above 2 MB memory is often fetched from the system anew
_CHUNK = 8

Encode = Callable[[NDArray[np.float32]], NDArray[Any]]


def write_features(
    items: Mapping[Split, Sequence[Item]], folder: Path, pad_mode: PadMode, on_bad_file: OnBadFile
) -> None:
    """Write `<split>.f32` ([n, T, F], raw) of each split and index.json (paths, targets, notes)."""
    _write(
        items,
        folder,
        "f32",
        lambda waves: log_mel(torch.from_numpy(waves), pad_mode).numpy(),
        on_bad_file,
        "Computing features",
    )


def write_waves(
    items: Mapping[Split, Sequence[Item]], folder: Path, on_bad_file: OnBadFile
) -> None:
    """Write `<split>.i16` ([n, N], raw): the sound itself, for augmentation."""

    def encode(waves: NDArray[np.float32]) -> NDArray[Any]:
        return np.clip(np.rint(waves * 32768), -32768, 32767).astype(np.int16)

    _write(items, folder, "i16", encode, on_bad_file, "Reading waves")


def _write(
    items: Mapping[Split, Sequence[Item]],
    folder: Path,
    suffix: str,
    encode: Encode,
    on_bad_file: OnBadFile,
    what: str,
) -> None:
    index: dict[str, Any] = {}
    notes: Counter[str] = Counter()
    bad: list[str] = []
    recording = lru_cache(maxsize=16)(lambda path: read_audio(path)[0])
    for split, members in items.items():
        # No threads but torch's: readers of many small files wait for the interpreter's lock.
        chunks = [members[i : i + _CHUNK] for i in range(0, len(members), _CHUNK)]
        kept: list[Item] = []
        # Plain writes, not a memory map: a full disk is an error here and a crash there.
        with (folder / f"{split}.{suffix}").open("wb") as file:
            for chunk in track(chunks, f"{what}: {split}"):
                waves = []
                for item, wave, converted in _readable(chunk, recording, on_bad_file, bad):
                    waves.append(wave)
                    kept.append(item)
                    notes.update(converted)
                if waves:
                    file.write(encode(np.stack(waves)).tobytes())
        index[split] = {"paths": [i.path for i in kept], "targets": [i.target for i in kept]}
    if bad:
        notes["files skipped"] = len(bad)
    index["notes"], index["skipped"] = dict(notes), bad
    (folder / "index.json").write_text(json.dumps(index))


def _readable(
    items: Sequence[Item], recording: Recording, on_bad_file: OnBadFile, bad: list[str]
) -> Iterator[tuple[Item, NDArray[np.float32], list[str]]]:
    """Give items with their waves and conversions; to `bad` goes which were left out, and why."""
    for item in items:
        try:
            wave, converted = read_item(item, recording)
        except BadFileError as error:
            if on_bad_file == "error":
                raise
            bad.append(f"{error.path}: {error.why}")
            continue
        yield item, wave, converted


def load_features(folder: Path, split: Split, n: int) -> Tensor:
    """Map the log-mel spectrograms [n, T, F] of a split; nothing is read until it is used."""
    shape = (n, N_STEPS, N_MELS)
    return torch.from_numpy(np.memmap(folder / f"{split}.f32", np.float32, "c", shape=shape))


def load_waves(folder: Path, split: Split, n: int) -> Tensor:
    """Map the waves [n, N] of a split as int16."""
    return torch.from_numpy(np.memmap(folder / f"{split}.i16", np.int16, "c", shape=(n, LENGTH)))
