from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.speech.augment import Augment
from tasks.speech.datamodule import SpeechTask
from tasks.speech.sample import SpeechSample

RECIPE = {"voices": 9, "takes": 1, "others": 2, "seed": 0}
OFF = {
    "noise_prob": 0.0,
    "noise_snr": [5.0, 25.0],
    "shift_ms": 0.0,
    "speed": 0.0,
    "time_masks": 0,
    "time_mask_ms": 150.0,
    "freq_masks": 0,
    "freq_mask_bands": 8,
}


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small spoken sample; read it, do not change it."""
    return SpeechSample(**RECIPE).build(tmp_path_factory.mktemp("spoken"))


@pytest.fixture
def own(spoken: Path, tmp_path: Path) -> Path:
    """A copy of the sample that a test may damage, named as the official folder."""
    root = tmp_path / "data" / "SpeechCommands" / "speech_commands_v0.02"
    shutil.copytree(spoken, root)
    return root


@pytest.fixture
def make(spoken: Path, tmp_path: Path) -> Callable[..., SpeechTask]:
    """Build the task with the yaml's values, but real data in the sample's folder."""

    def build(**changes: object) -> SpeechTask:
        augment = {**OFF, **changes.pop("augment", {})}  # type: ignore[dict-item]
        values: dict[str, object] = {
            "data": "real",
            "data_dir": str(spoken),
            "cache_dir": str(tmp_path / "cache"),
            "batch_size": 8,
            "num_workers": 0,
            "seed": 0,
            "split_seed": 0,
            "version": "auto",
            "classes": 12,
            "test_set": "list",
            "silence_train": 2300,
            "silence_val": 260,
            "silence_test": 260,
            "silence_crops": "disjoint",
            "balanced": True,
            "pad_mode": "reflect",
            "scaling": "clip",
            "on_bad_file": "error",
            "augment": Augment(**augment),  # type: ignore[arg-type]
            "sample": SpeechSample(**RECIPE),
        }
        return SpeechTask(**{**values, **changes})  # type: ignore[arg-type]

    return build


def tone(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Path:
    """Write a 440 Hz tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate, subtype="PCM_16")
    return path
