from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tasks.speech import encode
from tasks.speech.encode import BadFileError, Item, Scaling, add_deltas, log_mel, read_audio

from .conftest import tone


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    return encode.read_item(Item(str(path), 0), lambda p: read_audio(p)[0])


@pytest.mark.slow
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_features_are_librosas(spoken: Path, pad_mode: encode.PadMode) -> None:
    import librosa

    waves = np.stack([read(p)[0] for p in sorted(spoken.glob("[a-n]*/*.wav"))[:12]])
    mine = add_deltas(log_mel(torch.from_numpy(waves), pad_mode)).numpy()
    for wave, features in zip(waves, mine, strict=True):
        power = librosa.feature.melspectrogram(
            y=wave / np.abs(wave).max(),
            sr=16_000,
            n_fft=480,
            hop_length=160,
            n_mels=40,
            fmin=20,
            fmax=4000,
            pad_mode=pad_mode,
        )
        logmel = np.log1p(power / power.max())
        deltas = [librosa.feature.delta(logmel, order=order) for order in (1, 2)]
        theirs = np.stack([logmel, *deltas]).transpose(2, 0, 1)
        assert features.shape == (101, 3, 40)
        np.testing.assert_allclose(features, theirs, atol=2e-6)


def test_digital_silence_gives_zeros() -> None:
    x = Scaling("clip")(add_deltas(log_mel(torch.zeros(2, 16_000), "reflect")))
    assert torch.equal(x, torch.zeros(2, 101, 3, 40))


def test_features_do_not_depend_on_the_gain() -> None:
    wave = torch.randn(1, 16_000)
    torch.testing.assert_close(log_mel(wave, "reflect"), log_mel(0.01 * wave, "reflect"))


def some_features(n: int = 6) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(n, 101, 40, generator=draw) * torch.logspace(-3, 0, 40)
    x[:, :, 7] = 0
    return x


@pytest.mark.parametrize("mode", ["clip_and_batch", "clip", "clip_and_train", "train"])
def test_each_scaling_has_the_std_it_promises(mode: encode.ScalingMode) -> None:
    logmel = some_features()
    scaling = Scaling(mode)
    scaling.fit(logmel)
    x = scaling(add_deltas(logmel))
    one = torch.ones(3, 40)
    one[:, 7] = 0
    if mode == "clip":
        for clip in x:
            torch.testing.assert_close(clip.std(dim=0, correction=0), one)
    else:
        torch.testing.assert_close(x.std(dim=(0, 1), correction=0), one, atol=1e-4, rtol=1e-4)
    assert x[:, :, 0].min() >= 0  # no mean is removed


def test_only_the_authors_scaling_depends_on_the_batch() -> None:
    logmel = some_features()
    for mode in ("clip_and_batch", "clip", "clip_and_train", "train"):
        scaling = Scaling(mode)
        scaling.fit(logmel)
        alone, among = scaling(add_deltas(logmel[:1])), scaling(add_deltas(logmel))[:1]
        assert torch.allclose(alone, among) == (mode != "clip_and_batch")


def test_scaling_by_the_training_set_needs_it() -> None:
    with pytest.raises(RuntimeError, match="before fit"):
        Scaling("train")(add_deltas(some_features()))


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
