import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest

from snnexp.data.base import DataError
from tasks.seizure.edf import (
    canonical,
    read_annotations,
    read_header,
    read_signals,
    shared_channels,
)
from tests.tasks.seizure.conftest import montage

RATE = 128


def write(path: Path, signals: dict[str, np.ndarray] | list, annotations=(), rate=RATE) -> Path:
    pairs = signals.items() if isinstance(signals, dict) else signals
    edfio.Edf(
        [
            edfio.EdfSignal(
                data, rate, label=label, physical_dimension="uV", physical_range=(-1000, 1000)
            )
            for label, data in pairs
        ],
        recording=edfio.Recording(startdate=datetime.date(2020, 1, 1)),
        data_record_duration=1.0,
        annotations=[edfio.EdfAnnotation(*a) for a in annotations],
    ).write(path)
    return path


def tone(f: float, seconds: int = 20) -> np.ndarray:
    return 100 * np.sin(2 * np.pi * f * np.arange(seconds * RATE) / RATE)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    signals = {"EEG FP1": tone(3), "F7": tone(10), "-": tone(1), "ECG": tone(2)}
    return write(tmp_path / "a.edf", signals, [(2.0, 5.0, "seizure"), (1.0, 0.5, "blink")])


def test_labels_are_canonical():
    assert canonical("EEG Fp1 ") == "FP1"
    assert canonical("eeg_t8-p8") == "T8-P8"


def test_the_header(recording):
    header = read_header(recording)
    assert header.labels == ("FP1", "F7", "-", "ECG")
    assert (set(header.rates), header.duration) == ({float(RATE)}, 20.0)


def test_signals_in_microvolts_in_the_wanted_order(recording):
    data, rate = read_signals(recording, ["F7", "fp1"], montage())
    assert rate == RATE
    assert np.abs(data - np.stack([tone(10), tone(3)])).max() < 0.1


def test_a_derivation_is_a_difference(recording):
    data, _ = read_signals(recording, ["FP1-F7"], montage())
    assert np.abs(data[0] - (tone(3) - tone(10))).max() < 0.1


def test_a_label_that_occurs_twice_is_read_once(tmp_path):
    path = write(tmp_path / "twice.edf", [("T8-P8", tone(3)), ("F7", tone(10)), ("T8-P8", tone(7))])
    data, _ = read_signals(path, ["T8-P8"], montage())
    assert np.abs(data[0] - tone(3)).max() < 0.1
    assert shared_channels({path: read_header(path)}) == ["T8-P8", "F7"]


def test_filters_and_resampling(tmp_path):
    path = write(tmp_path / "a.edf", {"C3": tone(10) + tone(50) + tone(0.2)})

    def level(data: np.ndarray, rate: float, f: float) -> float:
        inner = data[0, int(5 * rate) : int(15 * rate)]
        phase = np.exp(-2j * np.pi * f * np.arange(len(inner)) / rate)
        return float(2 * abs((inner * phase).mean()))

    for wanted, kept, gone in [
        (montage(notch=50.0), (10, 0.2), (50,)),
        (montage(band=[1.0, 40.0]), (10,), (50, 0.2)),
        (montage(rate=64.0), (10, 0.2), ()),
    ]:
        data, rate = read_signals(path, ["C3"], wanted)
        assert rate == (wanted.rate or RATE)
        assert data.shape[1] == 20 * rate
        assert all(level(data, rate, f) == pytest.approx(100, rel=0.05) for f in kept)
        assert all(level(data, rate, f) < 10 for f in gone)


def test_shared_channels_leave_out_dummies_and_the_heart(recording, tmp_path):
    other = write(tmp_path / "b.edf", {"F7": tone(1), "FP1": tone(2), "CZ": tone(3)})
    headers = {path: read_header(path) for path in (recording, other)}
    assert shared_channels(headers) == ["FP1", "F7"]
    third = write(tmp_path / "c.edf", {"PZ": tone(1)})
    with pytest.raises(DataError, match=r"c.edf has none of the channels .* of .*a.edf"):
        shared_channels(headers | {third: read_header(third)})
    heart = write(tmp_path / "d.edf", {"ECG": tone(1)})
    with pytest.raises(DataError, match="no EEG channel"):
        shared_channels({heart: read_header(heart)})


def test_a_channel_that_is_not_there_is_named(recording):
    with pytest.raises(DataError, match="names 'CZ'"):
        read_signals(recording, ["FP1", "CZ"], montage())


def test_annotated_seizures(recording):
    assert read_annotations(recording) == [(2.0, 7.0)]


def corrupt(path: Path, at: int, field: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(field)] = field
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (0, b"\xffBIOSEMI", "does not begin with version 0"),
        (252, b"4x  ", "number of signals is b'4x  '"),
        (252, b"9   ", "9 signals need 2560 header bytes"),
        (184, b"oops    ", "header size"),
        (236, b"        ", "number of records"),
        (236, b"400     ", "announces 400 records, the file holds 20"),
        (236, b"0       ", "announces 0 records"),
        (244, b"0       ", "records of 0.0 s"),
        (244, b"nan     ", "record duration"),
        (192, b"EDF+D", "discontinuous"),
        (256 + 216 * 5, b"abcd", "samples per record"),
    ],
)
def test_a_broken_header_is_named(recording, at, field, message):
    corrupt(recording, at, field)
    with pytest.raises(DataError, match=message) as error:
        read_header(recording)
    assert str(recording) in str(error.value)


@pytest.mark.parametrize("size", [0, 100, 700, 5000])
def test_a_truncated_file_is_named(recording, size):
    recording.write_bytes(recording.read_bytes()[:size])
    with pytest.raises(DataError, match=r"a\.edf"):
        read_signals(recording, ["FP1"], montage())


def test_a_running_recording_counts_its_records(recording):
    corrupt(recording, 236, b"-1      ")
    assert read_header(recording).duration == 20.0


def test_what_mne_cannot_read_is_named(recording):
    # physical minimum and maximum of the first signal: no numbers
    corrupt(recording, 256 + 5 * 104, b"xxxxxxxx")
    with pytest.raises(DataError, match="MNE cannot read"):
        read_signals(recording, ["FP1"], montage())


def test_a_text_file_and_a_missing_one_are_named(tmp_path):
    text = tmp_path / "notes.edf"
    text.write_text("not a recording\n" * 100)
    with pytest.raises(DataError, match="not an EDF file"):
        read_header(text)
    with pytest.raises(DataError, match="cannot be read"):
        read_annotations(tmp_path / "gone.edf")
