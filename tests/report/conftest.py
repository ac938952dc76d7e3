"""A finished run on disk: its record, history and raster, as run.py leaves them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snnexp.report.collect import Row, rows_of
from snnexp.report.folder import config_hash
from snnexp.report.record import Result

CLASSES = ["yes", "no", "up", "down", "left", "right", "_silence_", "_unknown_"]
PAPER = {
    "key": "pellegrini2021",
    "title": "Pellegrini et al. 2021",
    "table": "abstract",
    "metric": "test/acc",
    "claimed": 0.945,
    "spread": None,
    "tolerance": 0.01,
    "protocol": "authors",
    "selection": "selected",
    "deviations": ["firing at v >= v_th, not >"],
}

REAL = {"variant": "real", "source": "Speech Commands v0.02", "sizes": {"test": 100}}
EXCERPT = REAL | {"excerpt": "3,243 of 105,829 clips"}


def accuracy(value: float, **metrics: Any) -> dict[str, Any]:
    """Metrics of a run that reached `value`, and less in its last epoch."""
    return {
        "select_on": "val",
        "monitor": "val/acc",
        "selected": {"test/acc": value, "test/rate": 0.05},
        "last": {"test/acc": value - 0.02, "test/rate": 0.05},
    } | metrics


def rows(*results: Result) -> list[Row]:
    """What results.csv holds of these runs."""
    return [row for result in results for row in rows_of(result)]


def make_result(**changes: Any) -> Result:
    """A complete record of a speech run; any field can be replaced."""
    seed, name = changes.pop("seed", 0), changes.pop("name", "speech-conv_snn")
    config = changes.pop(
        "config", {"seed": seed, "data_dir": "data", "model": {"neuron": {"decay_mean": 0.7}}}
    )
    layer = {"rate": 0.04, "hz": 4.0, "dead": 0.1, "spikes_per_neuron": 4.08, "neurons": 2560}
    operation = {
        "kind": "ac", "effective": 1e6, "dense": 2e7, "input_sparsity": 0.95, "energy_nj": 900.0,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "id": f"{name}/seed{seed}/20260101T000000Z-{config_hash(config)[:8]}",
        "name": name,
        "experiment": None,
        "task": "speech",
        "model": "conv_snn",
        "status": "complete",
        "started": datetime(2026, 1, 1, tzinfo=UTC),
        "ended": datetime(2026, 1, 1, 0, 3, tzinfo=UTC),
        "wall_s": 180.5,
        "command": ["python", "-m", "snnexp", "task=speech"],
        "seed": seed,
        "seeds": {"seed": seed, "split_seed": 1},
        "config": config,
        "config_hash": config_hash(config),
        "setting_hash": config_hash(config, ignore_seed=True),
        "code": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "environment": {
            "versions": {"python": "3.11.7", "torch": "2.9.0"}, "platform": "Linux",
            "cpu": "Some CPU", "cpu_count": 2, "threads": 2, "device": "cpu", "gpu": None,
            "world_size": 1, "backend": "cpu", "precision": "32-true",
        },
        "data": {
            "variant": "sample", "source": "espeak-ng", "sizes": {"train": 1000, "test": 300},
            "notes": {"skipped": 0}, "real_data": "Get it with data=real data_dir=...",
        },
        "metrics": {
            "select_on": "val", "monitor": "val/acc", "selected_epoch": 2,
            "selected": {"test/acc": 0.93, "test/recall/yes": 0.9, "test/rate": 0.04},
            "last": {"test/acc": 0.92, "test/recall/yes": 0.91, "test/rate": 0.041},
        },
        "baselines": {"chance": 1 / 8, "linear": 0.51},
        "firing": {
            "dt": 0.01, "samples": 300, "layers": {"neurons.0": layer, "neurons.1": layer},
            "total": layer | {"neurons": 5120},
        },
        "operations": {
            "samples": 300, "effective_macs": 0.0, "effective_acs": 2e6, "dense": 4e7,
            "energy_nj": 1800.0, "energy_formula": "energy = 4.6 pJ x MACs + 0.9 pJ x ACs",
            "activation_sparsity": 0.96, "membrane_updates": 5e5,
            "layers": {"convs.0": operation, "convs.1": operation}, "uncounted": [],
        },
        "size": {
            "parameters": 131535, "trainable_parameters": 131535, "footprint_bytes": 526140,
            "connection_sparsity": 0.0,
        },
        "confusion": {"split": "test", "classes": CLASSES, "counts": _counts()},
        "cost": {
            "epochs": 5, "epoch_s": 30.2, "peak_memory_bytes": 10**9,
            "peak_gpu_memory_bytes": None,
        },
    }  # fmt: skip
    return Result.model_validate(fields | changes)


def _counts() -> list[list[int]]:
    rng = np.random.default_rng(0)
    k = len(CLASSES)
    counts = rng.poisson(0.4, (k, k)) + np.diag(rng.integers(20, 40, k))
    return counts.tolist()


def make_history(epochs: int = 5, layers: int = 3) -> pd.DataFrame:
    """One row an epoch, as snnexp's History callback writes it."""
    epoch = np.arange(epochs)
    rows = {
        "epoch": epoch,
        "step": 100 * (epoch + 1),
        "train/loss": 2 * np.exp(-epoch / 2) + 0.1,
        "val/loss": 2 * np.exp(-epoch / 2) + 0.25,
        "train/acc": 1 - 0.7 * np.exp(-epoch / 2),
        "val/acc": 0.94 - 0.7 * np.exp(-epoch / 2),
        "val/rate": 0.03 + 0.1 * np.exp(-epoch),
    }
    for i in range(layers):
        rows[f"val/rate/neurons.{i}"] = 0.02 + 0.02 * i / layers + 0.1 * np.exp(-epoch)
    return pd.DataFrame(rows)


def make_raster(layers: int = 3, positions: int = 40) -> dict[str, Any]:
    """What raster.npz holds for one spoken word; padding added a step to the layers."""
    rng = np.random.default_rng(0)
    t, f = np.arange(101), np.arange(40)[:, None]
    word = np.exp(-(((t - 50) / 20) ** 2)) * (np.sin(f / 3 + t / 9) ** 2)
    arrays: dict[str, Any] = {
        f"spikes_neurons.{i} channel {7 * i}": rng.random((positions, 102)) < 0.04
        for i in range(layers)
    }
    return {"input": word, **arrays, "title": "yes (taken for yes)", "dt": 0.01}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The folder of one finished run."""
    folder = tmp_path / "outputs" / "runs" / make_result().id
    folder.mkdir(parents=True)
    make_result().write(folder)
    make_history().to_csv(folder / "metrics.csv", index=False)
    np.savez_compressed(folder / "raster.npz", **make_raster())
    return folder
