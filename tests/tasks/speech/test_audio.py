from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.speech.audio import BadFileError, Item, read_audio, read_item

from .conftest import tone


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    return read_item(Item(str(path), 0), lambda p: read_audio(p)[0])


def test_short_clips_are_centred_between_zeros(tmp_path: Path) -> None:
    wave, notes = read(tone(tmp_path / "a.wav", seconds=0.5))
    assert wave.shape == (16_000,)
    assert not wave[:4000].any()
    assert not wave[12_000:].any()
    assert wave[4001:11_999].any()
    assert notes == []


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    both = np.stack([np.full(16_000, 0.5), np.full(16_000, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 16_000, subtype="FLOAT")
    wave, notes = read(tmp_path / "a.wav")
    np.testing.assert_allclose(wave, 0.125)
    assert notes == ["clips mixed down to mono"]


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    wave, notes = read(tone(tmp_path / "a.wav", seconds=1, rate=44_100))
    assert notes == ["clips resampled to 16 kHz"]
    assert np.abs(np.fft.rfft(wave)).argmax() == 440
    np.testing.assert_allclose(np.abs(wave).max(), 0.5, atol=0.01)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_libsndfiles_own_floats(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "a.wav"
    wave = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    wave[:2] = [[-1], [1]]
    soundfile.write(path, wave, 16_000, subtype=subtype)
    theirs, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert abs(theirs.min()) > 0.9
    mine, _ = read_audio(path)
    assert mine.dtype == np.float32
    np.testing.assert_array_equal(mine, theirs.mean(axis=1))


def test_long_clips_are_cut_to_the_middle(tmp_path: Path) -> None:
    wave, notes = read(tone(tmp_path / "a.wav", seconds=1.5))
    assert wave.shape == (16_000,)
    assert notes == ["clips cut to their middle second"]


def damage(path: Path, how: str) -> Path:
    tone(path)
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("this is not sound, but somebody named it so")
    elif how == "header only":
        soundfile.write(path, np.zeros(0), 16_000, subtype="PCM_16")
    elif how == "nan":
        soundfile.write(path, np.full(100, np.nan), 16_000, subtype="FLOAT")
    elif how == "garbled":
        path.write_bytes(content[:12] + b"junk" * 200)
    elif how == "mp3":
        path = path.rename(path.with_suffix(".mp3"))
    return path


BAD = {
    "truncated": "truncated: 8022 bytes of the 16044",
    "empty": "an empty file",
    "text": "not a wav file",
    "header only": "an empty recording",
    "nan": "not finite",
    "garbled": "truncated|not a readable wav",
    "mp3": r"not a \.wav file",
}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, how: str) -> None:
    path = damage(tmp_path / "yes" / "a.wav", how)
    with pytest.raises(BadFileError, match=BAD[how]) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "task.on_bad_file=skip" in str(caught.value)
