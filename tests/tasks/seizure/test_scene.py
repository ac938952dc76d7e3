import numpy as np
from scipy.signal import spectrogram

from tasks.seizure.scene import Seizure, draw_patient, record


def patient(seed: int):
    return draw_patient(np.random.default_rng(seed), 8)


def test_a_recording_depends_on_its_seed_alone():
    a, b, c = (
        record(np.random.default_rng(s), patient(0), 6.0, [Seizure(2, 5)], 128) for s in (1, 1, 2)
    )
    assert a.shape == (8, 768)
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)


def test_seizures_start_at_the_focus_and_spread():
    onset, end = 20.0, 60.0
    ratios = []
    for seed in range(8):
        who = draw_patient(np.random.default_rng(seed), 24)
        eeg = record(np.random.default_rng(seed), who, 75.0, [Seizure(onset, end)], 128)
        _, t, s = spectrogram(eeg, 128, nperseg=128, noverlap=0)
        level = np.sqrt(s[:, 2:].sum(1))
        before = np.median(level[:, t < onset], 1)
        early = np.median(level[:, (t > onset) & (t < onset + 8)], 1) / before
        late = np.median(level[:, (t > end - 15) & (t < end)], 1) / before
        distance = np.abs(np.arange(24) - who.focus)
        ratios.append(
            [early[distance < 2].mean(), early[distance > 7].mean(), late[distance < 2].mean()]
        )
    near_early, far_early, near_late = np.mean(ratios, 0)
    assert near_early > 1.2 * far_early
    assert near_late > 3.0


def test_quiet_stretches_hold_artefacts_and_finite_microvolts():
    eeg = record(np.random.default_rng(3), patient(3), 120.0, [], 128)
    assert np.isfinite(eeg).all()
    assert 10 < eeg.std() < 200
    assert np.abs(eeg).max() > 5 * np.median(np.abs(eeg))
    assert np.abs(eeg).max() <= 3000
