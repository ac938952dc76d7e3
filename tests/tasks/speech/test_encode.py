from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.speech import encode
from tasks.speech.audio import Item, read_audio, read_item
from tasks.speech.encode import Scaling, add_deltas, log_mel


@pytest.mark.slow
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_features_are_librosas(spoken: Path, pad_mode: encode.PadMode) -> None:
    import librosa

    waves = np.stack(
        [
            read_item(Item(str(p), 0), lambda path: read_audio(path)[0])[0]
            for p in sorted(spoken.glob("[a-n]*/*.wav"))[:12]
        ]
    )
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


def test_bins_that_are_left_out_have_no_weight() -> None:
    from librosa.filters import mel

    whole = mel(sr=16_000, n_fft=480, n_mels=40, fmin=20, fmax=4000)
    kept = encode._mel_filters().numpy()
    assert kept.shape == (40, 120)
    np.testing.assert_array_equal(whole, np.pad(kept, ((0, 0), (0, whole.shape[1] - 120))))


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
