from __future__ import annotations

import csv
import errno
import hashlib
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from snnexp.data.base import DataError
from snnexp.data.splits import check_disjoint, read_list
from tasks.speech import espeak, recording
from tasks.speech.sample import VARIANTS, SpeechSample
from tasks.speech.words import BACKGROUND, COMMANDS, OTHER_WORDS

from .conftest import RECIPE


def wavs(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.wav"))
    }


def test_the_same_recipe_gives_the_same_bytes(spoken: Path, tmp_path: Path) -> None:
    again = SpeechSample(**RECIPE).build(tmp_path)
    assert wavs(again) == wavs(spoken)
    other = SpeechSample(**{**RECIPE, "seed": 1}).build(tmp_path)
    assert not set(wavs(other).values()) & set(wavs(spoken).values())


def test_the_layout_is_the_official_one(spoken: Path) -> None:
    paths = [p.relative_to(spoken) for p in spoken.glob("[a-z]*/*.wav")]
    assert len(paths) == RECIPE["voices"] * (10 + RECIPE["others"])
    counts = Counter(p.parent.name for p in paths)
    assert all(counts[word] == RECIPE["voices"] for word in COMMANDS)
    assert set(counts) <= {*COMMANDS, *OTHER_WORDS}
    for path in paths:
        speaker, n = path.stem.split("_nohash_")
        assert len(speaker) == 8
        assert int(speaker, 16) >= 0
        assert n == "0"
    assert len(list((spoken / BACKGROUND).glob("*.wav"))) == 6
    listed = read_list(spoken / "validation_list.txt") + read_list(spoken / "testing_list.txt")
    assert set(listed) < {str(p) for p in paths}


def test_clips_are_16_bit_16_khz_of_at_most_a_second(spoken: Path) -> None:
    infos = [soundfile.info(p) for p in spoken.glob("[a-z]*/*.wav")]
    assert {(i.samplerate, i.channels, i.subtype) for i in infos} == {(16_000, 1, "PCM_16")}
    assert max(i.frames for i in infos) == 16_000
    assert min(i.frames for i in infos) >= 12_000


def test_no_voice_and_no_timbre_is_in_two_splits() -> None:
    speakers = SpeechSample(voices=230, takes=1, others=2, seed=0).speakers()
    assert len({(s.accent, s.variant, s.size, s.pitch, s.rate) for s in speakers}) == 230
    for what in ("name", "variant"):
        groups = {
            split: [getattr(s, what) for s in speakers if s.split == split]
            for split in ("train", "val", "test")
        }
        check_disjoint(groups, what)  # type: ignore[arg-type]
    assert {s.variant for s in speakers} == set(VARIANTS)
    assert len({s.accent for s in speakers}) == 7


def test_the_table_of_speakers_agrees_with_the_lists(spoken: Path) -> None:
    with (spoken / "speakers.csv").open() as file:
        split_of = {row["name"]: row["split"] for row in csv.DictReader(file)}
    for name, split in (("validation_list.txt", "val"), ("testing_list.txt", "test")):
        listed = {Path(p).stem.split("_nohash_")[0] for p in read_list(spoken / name)}
        assert listed == {s for s, its in split_of.items() if its == split}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording.Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"the spoken sample could not be written.*No space left"):
        SpeechSample(**RECIPE).build(tmp_path)
    assert not list(tmp_path.rglob("*.wav"))


def test_a_recipe_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="voices >= 6"):
        SpeechSample(voices=3, takes=1, others=2, seed=0)


def test_a_voice_that_does_not_exist_is_named() -> None:
    with pytest.raises(espeak.EspeakError, match="no voice 'xx-nobody'"):
        espeak.render([espeak.Job("yes", "xx-nobody", 170, 50)])


def test_rendering_depends_on_its_jobs_alone() -> None:
    jobs = [espeak.Job(word, "en-us+f1", 170, 50) for word in ("yes", "no")]
    assert espeak.render(jobs) == espeak.render(jobs)
    rate, words = espeak.render(jobs)
    assert rate == 22_050
    assert words[0] != words[1]
    assert all(0.1 * rate < len(w) / 2 < rate for w in words)


def test_every_voice_is_rendered_the_same_by_every_process() -> None:
    jobs = [espeak.Job(word, f"en-us+{v}", 170, 50) for v in VARIANTS for word in ("stop", "happy")]
    runs = [espeak.render(jobs)[1] for _ in range(3)]
    differ = {job.voice for job, *words in zip(jobs, *runs, strict=True) if len(set(words)) > 1}
    assert not differ
