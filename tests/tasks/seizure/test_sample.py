import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scipy.io import savemat

from tasks.seizure import sample
from tasks.seizure.sample import ClipSample, RecordingSample, SegmentSample, write_mat

CONFIGS = Path(__file__).parents[3] / "configs"
SMALL = {
    "clips": ClipSample(
        channels=3, rate=100, seizures=[1], stretches=[1], seizure_seconds=[3, 5], seed=0
    ),
    "recordings": RecordingSample(
        patients=1, recordings=1, minutes=2.0, channels=2, rate=64, seed=0
    ),
    "segments": SegmentSample(segments=1, seed=0),
}


def digest(folder: Path) -> str:
    h = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        h.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return h.hexdigest()


@pytest.mark.parametrize("kind", SMALL)
def test_the_bytes_depend_on_the_seed_alone(tmp_path, kind):
    found = []
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        (tmp_path / name).mkdir()
        replace(SMALL[kind], seed=seed).write(tmp_path / name)
        found.append(digest(tmp_path / name))
    assert found[0] == found[1] != found[2]


def test_the_default_sample_reaches_the_authors_ranges():
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("config", overrides=["experiment=soltani2020_seizure"])
    sample: ClipSample = instantiate(cfg.task.source.sample, _convert_="all")
    seed = np.random.SeedSequence(sample.seed).spawn(len(sample.seizures))[2]
    first = seed.spawn(1 + sample.seizures[2] + sample.stretches[2])[0]
    _, episodes = sample.plan(2, np.random.default_rng(first))
    last = {
        ictal: max(number + seconds - 1 for i, seconds, number in episodes if i == ictal)
        for ictal in (True, False)
    }
    assert last[True] >= cfg.task.ranges.test.ictal[1] == 327
    assert last[False] >= cfg.task.ranges.test.interictal[1] == 714


def test_threads_write_one_clip_at_a_time(tmp_path, monkeypatch):
    """scipy's writer keeps a tag in its class, and one clip in ten thousand got another's size."""
    within: list[int] = []
    together: list[int] = []

    def slow(stream, variables):
        within.append(1)
        time.sleep(0.002)
        together.append(len(within))
        within.pop()
        savemat(stream, variables)

    monkeypatch.setattr(sample, "savemat", slow)
    with ThreadPoolExecutor(4) as pool:
        paths = [tmp_path / f"{k}.mat" for k in range(12)]
        list(pool.map(lambda path: write_mat(path, {"x": np.ones(3)}), paths))
    assert together == [1] * 12
    assert len({path.read_bytes() for path in paths}) == 1
