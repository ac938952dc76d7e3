import zipfile
from pathlib import Path

import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.seizure.bonn import LENGTH, SETS, find_root, list_segments, parse_segment, read_segment

VALUES = np.arange(LENGTH) % 300 - 150
TEXT = ("\r\n".join(map(str, VALUES)) + "\r\n").encode()


def names(per_set: int = 2) -> list[tuple[str, str]]:
    """Folder and file of each segment, with the quirks of the published folders."""
    return [
        (f"{name}_{letter}", f"{letter}{k:03d}.{'TXT' if name == 'C' else 'txt'}")
        for letter, name in SETS.items()
        for k in range(1, per_set + 1)
    ]


def check(root: Path) -> None:
    segments = list_segments(root)
    assert [(s.set, s.number) for s in segments] == [(s, k) for s in "ABCDE" for k in (1, 2)]
    assert np.array_equal(read_segment(segments[5]), VALUES)


def test_one_archive_with_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "Bonn EEG dataset.zip", "w") as archive:
        for folder, name in names():
            archive.writestr(f"{folder}/{name}", TEXT)
            archive.writestr(f"__MACOSX/{folder}/._{name}", b"junk")
    check(find_root(tmp_path))


def test_one_archive_a_set(tmp_path):
    (tmp_path / "Bonn").mkdir()
    for letter in SETS:
        with zipfile.ZipFile(tmp_path / "Bonn" / f"{letter}.zip", "w") as archive:
            for _, name in names():
                if name.startswith(letter):
                    archive.writestr(name, TEXT)
    check(find_root(tmp_path))


@pytest.mark.parametrize("depth", ["", "{}", "data/set{}"])
def test_text_files_in_folders(tmp_path, depth):
    for folder, name in names():
        home = tmp_path / depth.format(folder)
        home.mkdir(parents=True, exist_ok=True)
        (home / name.lower()).write_bytes(TEXT)
    (tmp_path / "readme.txt").write_text("not a segment")
    check(find_root(tmp_path))


def test_text_files_win_over_the_archive_they_came_from(tmp_path):
    for folder, name in names():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(TEXT)
    (tmp_path / "Bonn.zip").write_bytes(b"whatever")
    check(find_root(tmp_path))


def test_a_segment_that_occurs_twice_is_named(tmp_path):
    for folder, name in [*names(), ("copy", "Z001.txt")]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(TEXT)
    with pytest.raises(DataError, match=r"Z001.txt occurs twice"):
        list_segments(tmp_path)


def test_a_missing_set_a_broken_archive_and_nothing_are_named(tmp_path):
    with pytest.raises(DataError, match="Andrzejak"):
        find_root(tmp_path)
    (tmp_path / "Z.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"Z.zip: not a readable zip"):
        list_segments(find_root(tmp_path))
    (tmp_path / "Z.zip").unlink()
    (tmp_path / "Z001.txt").write_bytes(TEXT)
    with pytest.raises(DataError, match=r"lacks the Bonn sets \['B', 'C', 'D', 'E'\]"):
        list_segments(find_root(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT[:500], "expected 4097 finite samples"),
        (TEXT + b"7\n", "got 4098"),
        (TEXT.replace(b"-150", b"nan", 1), "finite"),
        (TEXT.replace(b"-150", b"x", 1), "not a list of numbers"),
        (b"", "got 0"),
    ],
)
def test_a_bad_segment_is_named(text, message):
    with pytest.raises(DataError, match=f"Z001.txt: .*{message}"):
        parse_segment(text, "Z001.txt")


def test_a_file_that_went_away_is_named(tmp_path):
    for folder, name in names():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(TEXT)
    segment = list_segments(tmp_path)[0]
    Path(segment.path).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_segment(segment)


def test_the_sample_is_read_back(segment_root):
    segments = list_segments(find_root(segment_root))
    assert len(segments) == 20
    assert sum(s.path.endswith(".TXT") for s in segments) == 4
    sizes = {s: [] for s in SETS.values()}
    for segment in segments:
        sizes[segment.set].append(read_segment(segment).std())
    assert np.median(sizes["E"]) > 1.5 * np.median(sizes["A"])
