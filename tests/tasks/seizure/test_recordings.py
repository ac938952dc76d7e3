import shutil
from pathlib import Path

import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.seizure.edf import read_annotations, shared_channels
from tasks.seizure.recordings import cut, find_root, list_recordings, overlap
from tasks.seizure.summary import read_summary, write_summary
from tests.tasks.seizure.conftest import montage


@pytest.fixture
def root(recording_root: Path, tmp_path: Path) -> Path:
    """A copy of the sample's first case, free to be spoilt."""
    shutil.copytree(recording_root / "sim01", tmp_path / "CHB-MIT" / "sim01")
    return find_root(tmp_path)


def listing(root: Path, skip: bool = False):
    notes: dict[str, int] = {}
    return list_recordings(root, None, "summary", skip, notes), notes


def test_the_sample_is_read_back(recording_root):
    recordings, notes = listing(recording_root)
    assert [r.name for r in recordings] == [f"sim0{p}_0{r}" for p in (1, 2) for r in range(1, 7)]
    assert notes == {}
    assert [len(r.seizures) for r in recordings] == [2, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0]
    assert all(r.header.duration == 120.0 for r in recordings)


def test_summary_and_edf_annotations_agree(recording_root):
    for summary in sorted(recording_root.glob("*/*-summary.txt")):
        for name, seizures in read_summary(summary).items():
            assert read_annotations(summary.parent / name) == seizures
    edf = list_recordings(recording_root, ["sim02"], "edf", False, {})
    assert [r.seizures for r in edf] == [r.seizures for r in listing(recording_root)[0][6:]]


def test_the_last_recording_has_another_montage(recording_root):
    recordings, _ = listing(recording_root)
    first, last = recordings[0].header.labels, recordings[5].header.labels
    assert first == ("G1-G2", "G2-G3", "G3-G4", "-", "ECG")
    assert last == ("G3-G4", "G2-G3", "G1-G2")
    headers = {r.path: r.header for r in recordings}
    assert shared_channels(headers) == ["G1-G2", "G2-G3", "G3-G4"]


def test_seizures_are_louder_in_the_file(recording_root):
    recordings, _ = listing(recording_root)
    ratios = []
    for r in recordings:
        if r.seizures:
            block = cut(r, ["G1-G2", "G2-G3", "G3-G4"], montage(), 4.0, 4.0, 0.5)
            level = block.signals.std(-1).max(1)
            ratios.append(np.median(level[block.rows.label == 1]) / np.median(level))
    assert np.median(ratios) > 1.3


def test_windows_and_labels(recording_root):
    recording = listing(recording_root)[0][1]
    (start, end) = recording.seizures[0]
    block = cut(recording, ["G1-G2", "G3-G4"], montage(), 4.0, 2.0, 0.5)
    assert block.signals.shape == (59, 2, 256)
    rows = block.rows
    assert rows.start.tolist() == list(np.arange(59) * 2.0)
    middle = (rows.start + rows.end) / 2
    assert np.array_equal(rows.label == 1, (middle >= start) & (middle <= end))
    whole = cut(recording, ["G1-G2"], montage(), 120.0, 1.0, 0.5)
    assert np.array_equal(block.signals[10, 0], whole.signals[0, 0, 20 * 64 : 24 * 64])


def test_overlap_by_hand():
    start, end = np.array([0.0, 4.0, 8.0, 12.0]), np.array([4.0, 8.0, 12.0, 16.0])
    assert overlap(start, end, [(3.0, 10.0)]).tolist() == [0.25, 1.0, 0.5, 0.0]
    assert overlap(start, end, []).tolist() == [0.0] * 4


def test_a_recording_shorter_than_a_window_is_refused(recording_root):
    with pytest.raises(DataError, match=r"120 s are shorter than a window"):
        cut(listing(recording_root)[0][0], ["G1-G2"], montage(), 200.0, 2.0, 0.5)


@pytest.mark.parametrize(
    "seizure", [(100.0, 130.0), (130.0, 140.0), (120.0, 121.0)], ids=["end", "all", "edge"]
)
def test_an_annotation_outside_is_named_or_counted(root, seizure):
    case = root / "sim01"
    listed = read_summary(case / "sim01-summary.txt")
    write_summary(case / "sim01-summary.txt", 64, [], listed | {"sim01_02.edf": [seizure]})
    with pytest.raises(DataError, match=r"sim01_02.edf.*outside the recording of 120 s.*bad_files"):
        listing(root)
    recordings, notes = listing(root, skip=True)
    assert len(recordings) == 5
    assert notes == {"bad recordings skipped": 1}


def test_an_annotation_rounded_past_the_end_is_cut(root):
    case = root / "sim01"
    listed = read_summary(case / "sim01-summary.txt")
    write_summary(case / "sim01-summary.txt", 64, [], listed | {"sim01_02.edf": [(90.0, 121.0)]})
    assert listing(root)[0][1].seizures == ((90.0, 120.0),)


def test_missing_and_unlisted_files_are_counted(root):
    (root / "sim01/sim01_03.edf").rename(root / "sim01/other.edf")
    recordings, notes = listing(root)
    assert len(recordings) == 5
    assert notes == {"recordings missing on disk": 1, "recordings in no summary": 1}


def test_a_broken_header_is_named_or_counted(root):
    path = root / "sim01/sim01_04.edf"
    path.write_bytes(b"broken" * 200)
    with pytest.raises(DataError, match=r"sim01_04.edf: not an EDF file"):
        listing(root)
    assert listing(root, skip=True)[1] == {"bad recordings skipped": 1}


def test_two_cases_of_one_person_are_one_patient(root):
    for case in ("chb01", "chb21"):
        home = root / case
        shutil.copytree(root / "sim01", home)
        for path in home.glob("*.edf"):
            path.rename(home / path.name.replace("sim01", case))
        listed = read_summary(home / "sim01-summary.txt")
        (home / "sim01-summary.txt").unlink()
        renamed = {name.replace("sim01", case): s for name, s in listed.items()}
        write_summary(home / f"{case}-summary.txt", 64, [], renamed)
    recordings = list_recordings(root, ["chb01", "chb21"], "summary", False, {})
    assert {r.patient for r in recordings} == {"chb01"}
    assert len({r.name for r in recordings}) == 12


def test_unknown_patients_and_empty_folders_are_named(root, tmp_path):
    with pytest.raises(DataError, match=r"task.source.patients names \['chb99'\].*'sim01'"):
        list_recordings(root, ["chb99"], "summary", False, {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"physionet\.org"):
        find_root(tmp_path / "empty")
    for path in (root / "sim01").glob("*.edf"):
        path.unlink()
    with pytest.raises(DataError, match="none of the recordings"):
        listing(root)
