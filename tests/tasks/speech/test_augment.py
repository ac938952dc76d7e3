from __future__ import annotations

import pytest
import torch

from snnexp.data.base import DataError
from tasks.speech.augment import Augment

from .conftest import OFF


def make(**changes: object) -> Augment:
    return Augment(**{**OFF, **changes})  # type: ignore[arg-type]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tones(n: int = 4) -> torch.Tensor:
    return torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000).repeat(n, 1)


def test_off_means_untouched() -> None:
    off = make()
    assert not off.on_waves
    assert not off.on_features
    assert torch.equal(off.waves(tones(), [], draw()), tones())


def test_a_shift_moves_the_sound_and_fills_with_zeros() -> None:
    click = torch.zeros(64, 16_000)
    click[:, 8000] = 1
    moved = make(shift_ms=100.0).waves(click, [], draw())
    at = moved.argmax(dim=1) - 8000
    assert at.abs().max() <= 1600
    assert at.max() > 800
    assert at.min() < -800
    torch.testing.assert_close(moved.sum(dim=1), torch.ones(64), atol=1e-3, rtol=0)


def test_speed_changes_the_pitch_within_its_bounds() -> None:
    faster = make(speed=0.1).waves(tones(64), [], draw())
    pitch = torch.fft.rfft(faster).abs().argmax(dim=1)
    assert 390 < pitch.min() < 420
    assert 460 < pitch.max() < 490


def test_noise_has_the_level_and_the_share_asked_for() -> None:
    noise = torch.randn(40_000, generator=draw(1))
    noisy = make(noise_prob=0.5, noise_snr=[10.0, 10.0]).waves(tones(200), [noise], draw())
    added = noisy - tones(200)
    rms = added.square().mean(dim=1).sqrt()
    hit = rms > 0
    assert 0.4 < hit.float().mean() < 0.6
    expected = (0.5 / 10) ** 0.5
    torch.testing.assert_close(rms[hit], torch.full_like(rms[hit], expected), rtol=1e-3, atol=0)


def test_masks_are_stretches_of_time_and_bands() -> None:
    masks = make(time_masks=2, freq_masks=1).masks(32, draw())
    assert masks.shape == (32, 101, 1, 40)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    steps = (masks[:, :, 0].amax(dim=2) == 0).sum(dim=1)
    bands = (masks[:, :, 0].amax(dim=1) == 0).sum(dim=1)
    assert steps.float().mean() > 0
    assert steps.max() <= 30
    assert bands.float().mean() > 0
    assert bands.max() <= 8
    assert not torch.equal(masks[0], masks[1])


def test_masks_leave_the_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = make(time_masks=1).masks(4, draw())
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, make(time_masks=1).masks(4, draw()))


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match=r"task\.augment: noise_prob=2"):
        make(noise_prob=2.0)
    with pytest.raises(DataError, match="lowest, highest"):
        make(noise_snr=[5.0])
