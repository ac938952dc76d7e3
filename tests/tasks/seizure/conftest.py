from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snnexp.metrics.detection import EventRule
from tasks.seizure.datamodule import SeizureTask
from tasks.seizure.edf import Montage
from tasks.seizure.features import Spectrogram
from tasks.seizure.sample import ClipSample, RecordingSample, SegmentSample
from tasks.seizure.sources import ClipSource, RecordingSource, SegmentSource, Source

CLIPS = ClipSample(
    channels=4,
    rate=128,
    seizures=[3, 3, 3],
    stretches=[4, 4, 4],
    seizure_seconds=[5, 10],
    seed=0,
)
RECORDINGS = RecordingSample(patients=2, recordings=6, minutes=2.0, channels=3, rate=64, seed=0)
SEGMENTS = SegmentSample(segments=4, seed=0)


def spectrogram(**changed: Any) -> Spectrogram:
    base = {
        "nperseg": 32,
        "noverlap": 16,
        "power": "log",
        "f_min": None,
        "f_max": None,
        "channel_quantiles": None,
    }
    return Spectrogram(**(base | changed))


def clip_source(**changed: Any) -> ClipSource:
    base = {"patients": None, "rate": None, "seizure_starts": None, "sample": CLIPS}
    return ClipSource(**(base | changed))


def montage(**changed: Any) -> Montage:
    return Montage(**({"channels": None, "band": None, "notch": None, "rate": None} | changed))


RULE = EventRule(
    threshold=0.5,
    smoothing=2,
    merge_gap=10.0,
    min_duration=0.0,
    max_duration=300.0,
    before=10.0,
    after=20.0,
)


def recording_source(**changed: Any) -> RecordingSource:
    base = {
        "patients": None,
        "annotations": "summary",
        "montage": montage(),
        "window": 4.0,
        "step": 4.0,
        "ictal_overlap": 0.5,
        "events": RULE,
        "sample": RECORDINGS,
    }
    return RecordingSource(**(base | changed))


def segment_source(**changed: Any) -> SegmentSource:
    base = {"problem": "e_vs_rest", "windows": 2, "sample": SEGMENTS}
    return SegmentSource(**(base | changed))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seizure-cache")


@pytest.fixture(scope="session")
def make(cache: Path) -> Callable[..., SeizureTask]:
    """Build a task over the tiny samples, all in one cache."""

    def build(source: Source, **changed: Any) -> SeizureTask:
        base: dict[str, Any] = {
            "data": "sample",
            "data_dir": "nowhere",
            "cache_dir": str(cache),
            "batch_size": 8,
            "num_workers": 0,
            "source": source,
            "features": spectrogram(),
            "loop": "time",
            "normalise": "train",
            "cut_at": 5.0,
            "protocol": "seizures",
            "fold": 0,
            "n_folds": 4,
            "ranges": None,
            "split_seed": 0,
            "quiet_per_seizure": None,
            "gain_jitter": 0.0,
            "bad_files": "error",
        }
        return SeizureTask(**(base | changed))

    return build


@pytest.fixture(scope="session")
def clip_root(make: Callable[..., SeizureTask]) -> Path:
    return make(clip_source()).root()


@pytest.fixture(scope="session")
def recording_root(make: Callable[..., SeizureTask]) -> Path:
    return make(recording_source()).root()


@pytest.fixture(scope="session")
def segment_root(make: Callable[..., SeizureTask]) -> Path:
    return make(segment_source()).root()
