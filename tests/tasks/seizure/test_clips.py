from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from snnexp.data.base import DataError
from tasks.seizure.clips import find_root, group_clips, list_clips, load_clip, read_clip
from tasks.seizure.sample import write_mat
from tasks.seizure.windows import WindowTable

DATA = np.arange(12, dtype=np.int16).reshape(3, 4)


def struct_file(folder: Path, name: str = "Patient_3_ictal_segment_7", **fields) -> Path:
    struct = name.split("_", 2)[2]
    path = folder / f"{name}.mat"
    write_mat(path, {struct: {"data": DATA} | fields})
    return path


def test_the_struct_of_the_mayo_packaging(tmp_path):
    channels = np.array(["LTG1", "LTG2", "LTG3"], dtype=object)
    path = struct_file(tmp_path, freq=400.0, latency=6.0, channels=channels)
    clip = read_clip(path)
    assert np.array_equal(clip.data, DATA)
    assert (clip.rate, clip.latency, clip.channels) == (400.0, 6.0, ("LTG1", "LTG2", "LTG3"))


def test_a_struct_with_data_alone_lasts_a_second(tmp_path):
    clip = read_clip(struct_file(tmp_path, "Dog_1_interictal_segment_12"))
    assert clip.rate == 4.0
    assert np.isnan(clip.latency)
    assert clip.channels == ("", "", "")


def test_the_contests_top_level_variables(tmp_path):
    path = tmp_path / "Dog_1_ictal_segment_1.mat"
    savemat(path, {"data": DATA, "freq": 399.6, "latency": 3, "channels": {"a": 1}})
    clip = read_clip(path)
    assert (clip.rate, clip.latency) == (399.6, 3.0)


def test_zero_padded_numbers_name_the_same_struct(tmp_path):
    path = struct_file(tmp_path)
    padded = path.rename(tmp_path / "Patient_3_ictal_segment_0007.mat")
    assert np.array_equal(read_clip(padded).data, DATA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"something": 1}, r"no struct 'ictal_segment_7'.*holds \['something'\]"),
        ({"ictal_segment_7": {"signal": DATA}}, "no struct"),
        ({"ictal_segment_7": 5}, "no struct"),
        (
            {"ictal_segment_7": {"data": np.zeros((2, 3, 4))}},
            r"channels x samples, got .*\(2, 3, 4\)",
        ),
        ({"ictal_segment_7": {"data": "text"}}, "channels x samples"),
    ],
)
def test_other_content_is_named(tmp_path, content, message):
    path = tmp_path / "Patient_3_ictal_segment_7.mat"
    savemat(path, content)
    with pytest.raises(DataError, match=message):
        read_clip(path)


@pytest.mark.parametrize("cut", [0, 60, 200])
def test_a_truncated_file_is_named(tmp_path, cut):
    path = struct_file(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"Patient_3_ictal_segment_7\.mat"):
        read_clip(path)


def test_a_damaged_dimension_is_named_at_once(tmp_path):
    path = struct_file(tmp_path)
    content = path.read_bytes()
    ones = np.array([1, 1], np.int32).tobytes()
    path.write_bytes(content.replace(ones, np.array([2**30, 1], np.int32).tobytes(), 1))
    with pytest.raises(DataError, match=r"cell array of 1073741824 arrays holds 1"):
        read_clip(path)


def test_a_text_file_and_a_matlab_73_file_are_named(tmp_path):
    path = tmp_path / "Patient_3_ictal_segment_7.mat"
    path.write_text("no MATLAB here, but long enough for a header\n" * 20)
    with pytest.raises(DataError, match="not a readable"):
        read_clip(path)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(DataError, match="-v7"):
        read_clip(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.mat"):
        read_clip(tmp_path / "gone.mat")


def test_listing_counts_what_it_leaves_out(tmp_path):
    home = tmp_path / "Patient_3"
    home.mkdir()
    for name in ("ictal_segment_2", "ictal_segment_10", "interictal_segment_1", "test_segment_1"):
        struct_file(home, f"Patient_3_{name}")
    struct_file(home, "Patient_4_ictal_segment_1")
    notes: dict[str, int] = {}
    listed = list_clips(find_root(tmp_path), None, notes)
    assert [(c.ictal, c.number) for c in listed["Patient_3"]] == [(True, 2), (True, 10), (False, 1)]
    assert notes == {"unlabelled contest clips": 1, "files with other names": 1}
    with pytest.raises(DataError, match=r"task.source.patients names \['Dog_9'\]"):
        list_clips(tmp_path, ["Dog_9"], {})


def test_a_patient_without_interictal_clips_is_refused(tmp_path):
    (tmp_path / "P").mkdir()
    struct_file(tmp_path / "P", "P_x_ictal_segment_1").rename(tmp_path / "P/P_ictal_segment_1.mat")
    with pytest.raises(DataError, match="both ictal and interictal"):
        list_clips(tmp_path, None, {})


def test_no_clips_says_what_to_fetch(tmp_path):
    with pytest.raises(DataError, match=r"msel\.mayo\.edu"):
        find_root(tmp_path)


@pytest.mark.parametrize("below", [".", "SeizureDetection", "SeizureDetection/clips", "clips"])
def test_the_folder_is_found_wherever_it_lies(tmp_path, below):
    home = tmp_path / below / "Patient_3"
    home.mkdir(parents=True)
    struct_file(home)
    assert find_root(tmp_path).resolve() == home.parent.resolve()


def test_resampling_keeps_the_rhythm(tmp_path):
    time = np.arange(5000) / 5000
    tone = 1000 * np.sin(2 * np.pi * 20 * time)
    path = tmp_path / "Patient_3_ictal_segment_7.mat"
    write_mat(path, {"ictal_segment_7": {"data": np.stack([tone, 2 * tone])}})
    (file,) = [f for f in [*_listed(tmp_path)] if f.path == path]
    block = load_clip(file, 500.0)
    assert (block.rate, block.signals.shape) == (500.0, (1, 2, 500))
    want = 1000 * np.sin(2 * np.pi * 20 * np.arange(500) / 500)
    assert np.abs(block.signals[0, 0] - want)[20:-20].max() < 10
    assert load_clip(file, None).signals.shape == (1, 2, 5000)


def _listed(folder: Path):
    from tasks.seizure.clips import ClipFile

    yield ClipFile(folder / "Patient_3_ictal_segment_7.mat", "Patient_3", True, 7)


def table(latency: list[float], quiet: int) -> WindowTable:
    n = len(latency) + quiet
    ictal = np.arange(n) < len(latency)
    start = np.array([*latency, *[np.nan] * quiet])
    return WindowTable(
        patient=np.full(n, "P"),
        group=np.full(n, ""),
        source=np.array([f"{k}.mat" for k in range(n)]),
        number=np.concatenate([np.arange(len(latency)), np.arange(quiet)]) + 1,
        start=start,
        end=start + 1,
        label=ictal.astype(np.int64),
        eventful=ictal,
    )


def test_a_latency_that_falls_back_starts_a_seizure():
    grouped = group_clips(table([0, 1, 2, 0, 2, 0], 5), None, True)
    names = [g.removeprefix("P/") for g in grouped.group]
    assert names[:6] == ["seizure001"] * 3 + ["seizure002"] * 2 + ["seizure003"]
    # mean seizure: 2 clips
    assert names[6:] == [f"interictal{k:03d}" for k in (0, 0, 1, 1, 2)]


def test_seizure_starts_take_the_place_of_latencies():
    unknown = table([np.nan] * 4, 2)
    with pytest.raises(DataError, match=r"4 ictal clips of P .*task.source.seizure_starts"):
        group_clips(unknown, None, True)
    grouped = group_clips(unknown, {"P": [1, 3]}, True)
    assert [g[-1] for g in grouped.group[:4]] == ["1", "1", "2", "2"]
    assert len(np.unique(group_clips(unknown, None, False).group[:4])) == 1


def test_the_sample_is_read_back(clip_root):
    listed = list_clips(clip_root, None, {})
    assert list(listed) == ["Patient_1", "Patient_2", "Patient_3"]
    clip = read_clip(listed["Patient_2"][0].path)
    assert (clip.data.shape, clip.rate, clip.latency) == ((4, 128), 128.0, 0.0)
    assert clip.channels == ("CH1", "CH2", "CH3", "CH4")
