"""Google Speech Commands on disk: find it, list it, deal its clips to splits and classes.

    <root>/<word>/<speaker>_nohash_<n>.wav
    <root>/_background_noise_/*.wav
    <root>/validation_list.txt, <root>/testing_list.txt       <word>/<file>, one a line

The separate test archive has one folder a class, `_silence_` and `_unknown_` included.
Source: P. Warden, arXiv 1804.03209; the split and the silence clips as in Pellegrini, Zimmer and
Masquelier, SLT 2021 (their public code), where `silence_crops` and the test set's silence differ.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import soundfile

from snnexp.data.base import DataError, Split
from snnexp.data.splits import read_list
from tasks.speech.audio import SAMPLE_RATE, Item
from tasks.speech.words import (
    ADDED_IN_V2,
    BACKGROUND,
    CLASSES_12,
    CLASSES_35,
    COMMANDS,
    SILENCE,
    TESTING_LIST,
    UNKNOWN,
    VALIDATION_LIST,
)

Version = Literal["v0.01", "v0.02"]
Crops = Literal["shared", "disjoint"]

#: word clips of the full v0.01 in each split: 64,727 files less the two lists' lines
V1_SIZES: Mapping[Split, int] = {"train": 51_093, "val": 6_799, "test": 6_835}
#: share of a noise recording from which a split's silence is cut where crops are disjoint
_REGIONS: Mapping[Split, tuple[float, float]] = {
    "train": (0.0, 0.8),
    "val": (0.8, 0.9),
    "test": (0.9, 1.0),
}


class Root(NamedTuple):
    """A folder in the official layout, and which version of the data set it holds."""

    path: Path
    version: Version


def find_root(data_dir: Path, version: Literal["auto", "v0.01", "v0.02"]) -> Root | None:
    """Return the data set below `data_dir`, or `data_dir` itself; None where there is none.

    `auto` takes v0.02 before v0.01. Raises DataError where `data_dir` itself is of another version.
    """
    wanted: Sequence[Version] = ("v0.02", "v0.01") if version == "auto" else (version,)
    for v in wanted:
        for folder in (
            data_dir / "SpeechCommands" / f"speech_commands_{v}",
            data_dir / f"speech_commands_{v}",
        ):
            if folder.is_dir():
                return Root(folder, v)
    if not _looks_official(data_dir):
        return None
    found = _version_of(data_dir)
    if found not in wanted:
        raise DataError(
            f"data_dir={data_dir} holds Speech Commands {found}, but task.version={version}; "
            f"set task.version={found} or point data_dir at {version}"
        )
    return Root(data_dir, found)


def find_test_archive(data_dir: Path, root: Root) -> Path | None:
    """Return the unpacked folder of the separate test archive, if it is there."""
    name = f"speech_commands_test_set_{root.version}"
    for parent in (data_dir / "SpeechCommands", data_dir, root.path.parent):
        if (parent / name).is_dir():
            return parent / name
    return None


def _looks_official(folder: Path) -> bool:
    marks = (VALIDATION_LIST, TESTING_LIST, BACKGROUND, COMMANDS[0])
    return sum((folder / mark).exists() for mark in marks) >= 2


def _version_of(folder: Path) -> Version:
    named = re.search(r"v0\.0([12])", folder.resolve().name)
    if named:
        return "v0.01" if named[1] == "1" else "v0.02"
    return "v0.02" if any((folder / word).is_dir() for word in ADDED_IN_V2) else "v0.01"


def list_words(root: Path, needed: Sequence[str]) -> dict[str, list[str]]:
    """Return the file names of each word folder, sorted.

    Raises DataError where a needed folder is missing, or any word's folder is empty.
    """
    words = {
        folder.name: _files(folder)
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(("_", "."))
    }
    missing = [w for w in needed if w not in words]
    if missing:
        raise DataError(
            f"{root} lacks the word folder(s) {', '.join(missing)}; expected one folder a word, "
            "as the official archive unpacks. Unpack it again, or point data_dir elsewhere"
        )
    for word, files in words.items():
        if not files:
            raise DataError(
                f"the class folder {root / word} is empty; put its clips back from the official "
                "archive, or remove the folder"
            )
    return words


def _files(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if e.is_file() and e.name[0] != ".")


def speaker(path: str) -> str:
    """Return the speaker of a clip: `yes/0a7c2a8d_nohash_0.wav` is spoken by 0a7c2a8d."""
    return Path(path).name.split("_nohash_")[0]


def split_words(root: Path, words: Mapping[str, Sequence[str]]) -> dict[Split, list[str]]:
    """Deal the clips `<word>/<file>` to splits by the two official lists.

    Raises DataError where a list is missing, or names a clip that is not there.
    """
    clips = [f"{word}/{name}" for word, names in words.items() for name in names]
    listed: dict[Split, set[str]] = {
        "val": set(read_list(root / VALIDATION_LIST)),
        "test": set(read_list(root / TESTING_LIST)),
    }
    gone = sorted((listed["val"] | listed["test"]) - set(clips))
    if gone:
        raise DataError(
            f"{len(gone)} clips named in {VALIDATION_LIST} or {TESTING_LIST} are not in {root} "
            f"(first: {gone[0]}); unpack the official archive again, or take them off the lists"
        )
    rest = listed["val"] | listed["test"]
    return {
        "train": [c for c in clips if c not in rest],
        "val": [c for c in clips if c in listed["val"]],
        "test": [c for c in clips if c in listed["test"] and c not in listed["val"]],
    }


def classes_of(classes: Literal[12, 35]) -> tuple[str, ...]:
    """Return the class names in index order."""
    return CLASSES_12 if classes == 12 else CLASSES_35


def label(clips: Iterable[str], root: Path, names: Sequence[str]) -> list[Item]:
    """Turn clips `<word>/<file>` into items; a word that is no class of its own is unknown."""
    index = {name: i for i, name in enumerate(names)}
    other = index.get(UNKNOWN, -1)
    return [Item(str(root / clip), index.get(clip.split("/")[0], other)) for clip in clips]


def silence_counts(sizes: Mapping[Split, int], full: Mapping[Split, int]) -> dict[Split, int]:
    """Scale the silence clips of the full set to a smaller one, at least one a split.

    `full` holds the counts for v0.01; a split with fewer word clips than v0.01's gets the same
    share of silence, a larger one gets no more.
    """
    return {
        split: max(1, round(count * min(1.0, sizes[split] / V1_SIZES[split]))) if count else 0
        for split, count in full.items()
    }


def cut_silence(
    root: Path, counts: Mapping[Split, int], crops: Crops, target: int, seed: int
) -> dict[Split, list[Item]]:
    """Draw one-second crops of the background noise: uniform recording, then uniform start.

    `shared` cuts all splits from the whole recordings (the authors); `disjoint` gives training
    the first 80 %, validation and test a tenth each, so that no second is heard in two splits.
    """
    files = noise_files(root)
    rng = np.random.default_rng(seed)
    items: dict[Split, list[Item]] = {}
    for split, count in counts.items():
        spans = [noise_span(file, split, crops) for file in files]
        chosen = rng.integers(len(files), size=count)
        items[split] = [
            Item(
                str(files[k]), target, int(rng.integers(spans[k][0], spans[k][1] - SAMPLE_RATE + 1))
            )
            for k in chosen
        ]
    return items


def noise_files(root: Path) -> list[Path]:
    """Return the background recordings, sorted. Raises DataError where there is none."""
    files = sorted(p for p in (root / BACKGROUND).glob("*.wav") if p.name[0] != ".")
    if not files:
        raise DataError(
            f"{root / BACKGROUND} holds no .wav file; the class {SILENCE} is cut from them. Copy "
            "the folder from the official archive"
        )
    return files


def noise_span(file: Path, split: Split, crops: Crops) -> tuple[int, int]:
    """Return the first and the past-the-end sample (at 16 kHz) of a noise file for one split."""
    try:
        info = soundfile.info(str(file))
    except soundfile.SoundFileError as error:
        raise DataError(
            f"the background noise {file} is not a readable wav file: {error}"
        ) from error
    n = int(info.frames * SAMPLE_RATE / info.samplerate)
    lo, hi = _REGIONS[split] if crops == "disjoint" else (0.0, 1.0)
    span = int(lo * n), int(hi * n)
    if span[1] - span[0] < SAMPLE_RATE:
        raise DataError(
            f"the background noise {file} lasts {n / SAMPLE_RATE:.1f} s, too short to cut a second "
            f"for {split}; task.silence_crops=disjoint needs 10 s, shared needs 1 s"
        )
    return span


def test_archive(folder: Path) -> list[Item]:
    """List the separate test archive: one folder a class."""
    items = []
    for target, name in enumerate(CLASSES_12):
        names = _files(folder / name) if (folder / name).is_dir() else []
        if not names:
            raise DataError(
                f"the test archive's class folder {folder / name} is missing or empty; unpack the "
                "archive again, or use task.test_set=list"
            )
        items += [Item(str(folder / name / file), target) for file in names]
    return items


def fingerprint(items: Mapping[Split, Sequence[Item]]) -> str:
    """Hash names, sizes, times, targets and crops: what the feature cache depends on."""
    h = hashlib.sha256()
    for split, members in items.items():
        for item in members:
            path = Path(item.path)
            stat = path.stat()
            place = f"{path.parent.name}/{path.name}"
            facts = (split, place, stat.st_size, stat.st_mtime_ns, item.target, item.start)
            h.update(f"{facts}\n".encode())
    return h.hexdigest()
