"""The features that are timed are librosa's, or the run ends."""

import numpy as np
import pytest
import soundfile
import torch

from scripts import bench_speech


@pytest.fixture
def noise(tmp_path):
    rng = np.random.default_rng(0)
    for k, seconds in enumerate((1.0, 0.6, 1.2)):
        folder = tmp_path / "clips" / f"word{k}"
        folder.mkdir(parents=True)
        wave = 0.2 * rng.standard_normal(int(16_000 * seconds))
        soundfile.write(folder / "a.wav", wave, 16_000, subtype="PCM_16")
    return tmp_path


# librosa compiles for some 15 s where it has never been called
@pytest.mark.slow
# audioread, which librosa.load imports, imports modules that Python 3.13 leaves out
@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")
def test_all_that_is_timed_agrees(noise):
    paths = bench_speech.clips(noise / "clips")
    rows = bench_speech.measure(noise, paths, repeats=1)
    assert [(r.provider, r.n, r.t) for r in rows] == [
        ("snnexp", 3, 101),
        ("snnexp, cached", 3, 101),
        ("snnexp, one thread", 3, 101),
        ("snnexp, uncached", 3, 101),
        ("librosa", 3, 101),
    ]
    assert rows[0].ratio == pytest.approx(rows[4].ms / rows[0].ms)


def test_ours_agree_among_themselves_and_a_peer_that_differs_ends_the_run(noise):
    of = bench_speech.programs(noise, bench_speech.clips(noise / "clips"))
    of["librosa"] = alone = of["snnexp, uncached"]
    threads = torch.get_num_threads()
    bench_speech.check(of)
    assert torch.get_num_threads() == threads
    of["librosa"] = lambda: (piece + 1e-5 for piece in alone())
    with pytest.raises(SystemExit, match="features of snnexp and librosa differ by up to 1"):
        bench_speech.check(of)


def test_recordings_of_noise_are_no_clips(tmp_path):
    for folder in ("yes", "_background_noise_"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    assert bench_speech.clips(tmp_path) == [tmp_path / "yes" / "a.wav"]
