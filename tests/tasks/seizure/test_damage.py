"""Files with seeded damage: each is read, or refused by a DataError that names it, and soon."""

import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from snnexp.data.base import DataError
from tasks.seizure import bonn, clips, edf, summary
from tasks.seizure.sample import write_mat
from tests.tasks.seizure import test_bonn, test_edf, test_summary
from tests.tasks.seizure.conftest import montage

#: bytes that turn a number or a keyword into another one
TELLING = b"0123456789-+.eE naif:\n\t\x00\xff"


def damaged(content: bytes, rng: np.random.Generator, within: int) -> bytes:
    """Change one to five places among the first `within` bytes; now and then cut the end off."""
    broken = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(min(within, len(broken))))
        match rng.integers(4):
            case 0:
                broken[at] = rng.integers(256)
            case 1 | 2:
                broken[at] = rng.choice(list(TELLING))
            case 3 if within == len(content):
                # lines and blocks go missing, or stand twice
                length = int(rng.integers(1, 30))
                piece = broken[at : at + length]
                broken[at : at + length] = piece + piece if rng.random() < 0.5 else b""
        broken = broken or bytearray(b"0")
    if rng.random() < 0.2:
        del broken[rng.integers(len(broken)) + 1 :]
    return bytes(broken)


def outcomes(path: Path, content: bytes, read, tries: int, within: int | None = None) -> Counter:
    """Count what was read and what was refused with the file's name."""
    found: Counter[str] = Counter()
    for k in range(tries):
        rng = np.random.default_rng(k)
        path.write_bytes(damaged(content, rng, within or len(content)))
        with warnings.catch_warnings():
            # what a damaged float may overflow into is checked by the readers
            warnings.simplefilter("ignore")
            try:
                read(path)
                found["read"] += 1
            except DataError as error:
                named = path.name in str(error) or f"{path.parent} lacks" in str(error)
                found["refused" if named else f"refused without its name: {error}"] += 1
    assert set(found) == {"read", "refused"}
    return found


def test_summary_files(tmp_path):
    found = outcomes(tmp_path / "s.txt", test_summary.TEXT.encode(), summary.read_summary, 400)
    assert min(found.values()) > 50


def test_headers_of_edf_files(tmp_path):
    path = tmp_path / "r.edf"
    test_edf.write(path, {"FP1": test_edf.tone(3), "F7": test_edf.tone(10)}, [(2.0, 5.0, "seiz")])

    def read(path):
        edf.read_signals(path, ["FP1"], montage())
        edf.read_annotations(path)

    found = outcomes(path, path.read_bytes(), read, 60, within=4 * 256)
    assert min(found.values()) > 5


def test_clips(tmp_path):
    path = tmp_path / "P_ictal_segment_7.mat"
    data = np.arange(40, dtype=np.int16).reshape(4, 10)
    write_mat(path, {"ictal_segment_7": {"data": data, "freq": 10.0, "latency": 3.0}})
    found = outcomes(path, path.read_bytes(), clips.read_clip, 300)
    assert min(found.values()) > 20


def test_bonn_segments(tmp_path):
    path = tmp_path / "Z001.txt"

    def read(path):
        bonn.read_segment(bonn.Segment("A", 1, str(path), None))

    outcomes(path, test_bonn.TEXT, read, 60)


def test_bonn_archives(tmp_path):
    path = tmp_path / "sets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, name in test_bonn.names(1):
            archive.writestr(f"{folder}/{name}", test_bonn.TEXT)

    def read(path):
        for segment in bonn.list_segments(path.parent):
            bonn.read_segment(segment)

    found = outcomes(path, path.read_bytes(), read, 100)
    assert found["refused"] > 50
