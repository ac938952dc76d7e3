from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile

from snnexp.data.base import DataError, Split
from snnexp.data.splits import check_disjoint
from tasks.speech import layout
from tasks.speech.words import CLASSES_12, CLASSES_35, COMMANDS

from .conftest import tone


def test_the_folder_is_found_in_all_three_places(own: Path) -> None:
    data_dir = own.parents[1]
    assert layout.find_root(data_dir, "auto") == (own, "v0.02")
    assert layout.find_root(own.parent, "v0.02") == (own, "v0.02")
    assert layout.find_root(own, "auto") == (own, "v0.02")
    assert layout.find_root(data_dir, "v0.01") is None
    assert layout.find_root(data_dir / "nowhere", "auto") is None


def test_a_folder_of_another_version_is_refused(own: Path) -> None:
    with pytest.raises(DataError, match=r"holds Speech Commands v0\.02, but task\.version=v0\.01"):
        layout.find_root(own, "v0.01")


def test_an_unnamed_folder_is_told_by_its_words(own: Path) -> None:
    plain = own.rename(own.with_name("recordings"))
    assert layout.find_root(plain, "auto") == (plain, "v0.02")
    for word in ("backward", "follow", "forward", "learn", "visual"):
        shutil.rmtree(plain / word, ignore_errors=True)
    assert layout.find_root(plain, "auto") == (plain, "v0.01")


def test_splits_follow_the_lists_and_hold_no_speaker_twice(spoken: Path) -> None:
    clips = layout.split_words(spoken, layout.list_words(spoken, COMMANDS))
    check_disjoint({s: [layout.speaker(c) for c in clips[s]] for s in clips}, "speakers")
    assert sum(map(len, clips.values())) == len(list(spoken.glob("[a-z]*/*.wav")))
    assert clips["val"] == sorted((spoken / "validation_list.txt").read_text().split())


def test_a_missing_list_is_named(own: Path) -> None:
    (own / "testing_list.txt").unlink()
    with pytest.raises(DataError, match=r"testing_list\.txt is missing in"):
        layout.split_words(own, layout.list_words(own, COMMANDS))


def test_a_listed_clip_that_is_gone_is_named(own: Path) -> None:
    listed = next(p for p in (own / "testing_list.txt").read_text().split() if p[:3] == "yes")
    (own / listed).unlink()
    with pytest.raises(DataError, match=f"1 clips named in .*first: {listed}"):
        layout.split_words(own, layout.list_words(own, COMMANDS))


def test_an_empty_or_missing_class_folder_is_named(own: Path) -> None:
    shutil.rmtree(own / "yes")
    with pytest.raises(DataError, match=r"lacks the word folder\(s\) yes"):
        layout.list_words(own, COMMANDS)
    (own / "yes").mkdir()
    (own / "yes" / ".DS_Store").write_bytes(b"")
    with pytest.raises(DataError, match=r"class folder .*yes is empty"):
        layout.list_words(own, COMMANDS)


def test_labels() -> None:
    clips = ["yes/a.wav", "go/a.wav", "zero/a.wav"]
    assert [i.target for i in layout.label(clips, Path("r"), CLASSES_12)] == [0, 9, 11]
    assert [i.target for i in layout.label(clips, Path("r"), CLASSES_35)] == [33, 11, 34]
    assert CLASSES_12.index("_silence_") == 10
    assert len(CLASSES_35) == len(set(CLASSES_35)) == 35


def test_silence_is_scaled_to_the_set() -> None:
    paper: dict[Split, int] = {"train": 2300, "val": 260, "test": 260}
    assert layout.silence_counts(layout.V1_SIZES, paper) == paper
    larger = {s: 2 * n for s, n in layout.V1_SIZES.items()}
    assert layout.silence_counts(larger, paper) == paper
    small: dict[Split, int] = {"train": 2154, "val": 248, "test": 5}
    assert layout.silence_counts(small, paper) == {"train": 97, "val": 9, "test": 1}
    none: dict[Split, int] = {"train": 0, "val": 0, "test": 0}
    assert layout.silence_counts(small, none) == none


def cut(root: Path, crops: layout.Crops, seed: int = 0) -> dict[Split, list[layout.Item]]:
    counts: dict[Split, int] = {"train": 300, "val": 100, "test": 100}
    return layout.cut_silence(root, counts, crops, 10, seed)


def test_disjoint_crops_share_no_second(spoken: Path) -> None:
    items = cut(spoken, "disjoint")
    assert {s: len(i) for s, i in items.items()} == {"train": 300, "val": 100, "test": 100}
    for file in layout.noise_files(spoken):
        n = soundfile.info(file).frames
        spans = {
            s: [i.start for i in its if i.path == str(file) and i.start is not None]
            for s, its in items.items()
        }
        assert max(spans["train"]) + 16_000 <= min(spans["val"])
        assert max(spans["val"]) + 16_000 <= min(spans["test"])
        assert max(spans["test"]) + 16_000 <= n


def test_crops_are_seeded(spoken: Path) -> None:
    assert cut(spoken, "shared") == cut(spoken, "shared")
    assert cut(spoken, "shared") != cut(spoken, "shared", seed=1)
    assert cut(spoken, "shared") != cut(spoken, "disjoint")


def test_noise_that_is_missing_short_or_broken_is_named(own: Path) -> None:
    folder = own / "_background_noise_"
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"_background_noise_ holds no \.wav"):
        cut(own, "shared")
    tone(folder / "hum.wav", seconds=3)
    assert len(cut(own, "shared")["train"]) == 300
    with pytest.raises(DataError, match=r"hum\.wav lasts 3\.0 s.*silence_crops=disjoint needs 10"):
        cut(own, "disjoint")
    (folder / "hum.wav").write_text("hum")
    with pytest.raises(DataError, match=r"hum\.wav is not a readable wav"):
        cut(own, "shared")
