import numpy as np
import pytest
from scipy.signal import spectrogram as scipy_spectrogram

from snnexp.data.base import DataError
from tasks.seizure.features import BANDS, baseline_features
from tests.tasks.seizure.conftest import spectrogram

AUTHORS = spectrogram(nperseg=64, noverlap=32, power="raw")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_the_authors_features_have_the_papers_shape():
    # section 2.2 of the facts: 55 channels, 5,000 Hz, 33 bins, 155 frames
    x = noise(2, 55, 5000)
    features, _ = AUTHORS(x, 5000.0, "clip")
    assert features.shape == (2, 55, 33, 155)
    _, _, want = scipy_spectrogram(x[1], fs=400, nperseg=64, noverlap=32, scaling="spectrum")
    np.testing.assert_allclose(features[1], want, rtol=1e-4, atol=1e-7)


def test_the_wrong_rate_of_the_authors_changes_nothing():
    x = noise(1, 2, 500)
    assert np.array_equal(AUTHORS(x, 400.0, "")[0], AUTHORS(x, 5000.0, "")[0])


def test_log_is_the_logarithm_of_raw():
    x = noise(3, 2, 256)
    raw, _ = spectrogram(power="raw")(x, 128.0, "")
    log, _ = spectrogram(power="log")(x, 128.0, "")
    np.testing.assert_allclose(log, np.log10(raw + 1e-3), rtol=1e-5)


def test_a_dead_channel_stays_finite():
    features, baseline = spectrogram()(np.zeros((1, 2, 128), np.float32), 128.0, "")
    assert np.isfinite(features).all()
    assert np.isfinite(baseline).all()


def test_frequency_range_and_frame_time():
    kept = spectrogram(f_min=4.0, f_max=20.0)
    assert kept.frequencies(128.0).tolist() == [4.0, 8.0, 12.0, 16.0, 20.0]
    features, _ = kept(noise(1, 2, 128), 128.0, "")
    assert features.shape == (1, 2, 5, 7)
    assert kept.frame_seconds(128.0) == 0.125
    with pytest.raises(DataError, match=r"f_min=5.0 and f_max=6.0; at 128 Hz the bins are 4 Hz"):
        spectrogram(f_min=5.0, f_max=6.0)(noise(1, 2, 128), 128.0, "x")


def test_quantiles_do_not_care_for_the_channels_order_or_number():
    pooled = spectrogram(channel_quantiles=[0.0, 0.5, 1.0])
    x = noise(2, 5, 128)
    a, b = pooled(x, 128.0, ""), pooled(x[:, ::-1], 128.0, "")
    assert a[0].shape == (2, 3, 17, 7)
    assert a[1].shape == (2, 3, 7)
    np.testing.assert_array_equal(a[0], b[0])
    twice, _ = pooled(np.concatenate([x, x], 1), 128.0, "")
    np.testing.assert_allclose(twice[:, [0, 2]], a[0][:, [0, 2]])
    full, _ = spectrogram()(x, 128.0, "")
    np.testing.assert_allclose(a[0][:, 2], full.max(1))


def test_more_windows_than_a_chunk():
    x = noise(600, 1, 32)
    whole, _ = spectrogram()(x, 128.0, "")
    one, _ = spectrogram()(x[577:578], 128.0, "")
    np.testing.assert_array_equal(whole[577:578], one)


def test_short_windows_are_refused():
    with pytest.raises(DataError, match=r"a.mat: windows of 20 samples .*nperseg=32"):
        spectrogram()(noise(1, 2, 20), 128.0, "a.mat")


@pytest.mark.parametrize("band", range(len(BANDS)))
def test_a_tone_lies_in_its_band(band):
    low, high = BANDS[band]
    time = np.arange(512) / 512
    tone = 10 * np.sin(2 * np.pi * round((low + high) / 2) * time)
    found = baseline_features(tone[None, None].astype(np.float32), 512.0)[0, 0]
    assert found[:6].argmax() == band
    # a sinusoid of amplitude a has power a^2 / 2
    assert 10 ** found[band] == pytest.approx(50, rel=0.6)


def test_line_length_by_hand():
    x = np.array([0.0, 3.0, -1.0, -1.0], np.float32)[None, None]
    assert 10 ** baseline_features(x, 4.0)[0, 0, 6] == pytest.approx((7 / 3) ** 2, rel=1e-3)
