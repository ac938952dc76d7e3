"""What TensorBoard and Weights & Biases get of a run: figures, rates, pictures, the config."""

import json

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from snnexp.run import run
from snnexp.training import loggers
from tests.test_run import config, folders

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)
PICTURES = {"curves", "confusion", "rates", "raster"}


def test_tensorboard_holds_figures_rates_pictures_and_config(tmp_path):
    run(config(tmp_path, "logger=tensorboard"))
    (folder,) = folders(tmp_path)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    history = pd.read_csv(folder / "metrics.csv")
    for key in ("train/loss", "train/acc", "val/acc", "val/rate", "val/rate/neurons.0"):
        values = [e.value for e in events.Scalars(key)]
        np.testing.assert_allclose(values, history[key], rtol=1e-5)
    assert "test/acc" in tags["scalars"]
    assert set(tags["images"]) >= PICTURES
    picture = events.Images("curves")[0]
    assert picture.encoded_image_string.startswith(b"\x89PNG")
    assert picture.width > 500
    assert "seed: 0" in (folder / "tensorboard" / "hparams.yaml").read_text()


@pytest.fixture
def offline(monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(loggers, "_has_key", lambda: False)
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_wandb_without_a_key_writes_one_offline_folder_a_run(tmp_path, offline):
    import wandb

    for seed in (0, 1):
        run(config(tmp_path, "logger=wandb", f"seed={seed}", "trainer.max_epochs=1"))
        assert wandb.run is None, "the next run of a sweep would be written into this one"
    for folder in folders(tmp_path):
        (offline_run,) = folder.glob("wandb/offline-run-*")
        (log,) = offline_run.glob("run-*.wandb")
        content = log.read_bytes()
        for key in (b"val/acc", b"train/loss", b"val/rate/neurons.0", b"test/acc"):
            assert key in content, key
        pictures = {p.name.split("_")[0] for p in offline_run.glob("files/media/images/*.png")}
        assert pictures >= PICTURES
        seed = json.loads((folder / "result.json").read_text())["seed"]
        assert f"seed{seed}" in str(folder)


def test_a_run_that_fails_closes_its_loggers(tmp_path):
    made = loggers.tensorboard(tmp_path, "a")

    def fail():
        with loggers.closing([made], {"seed": 3}):
            made.log_metrics({"a": 1.0}, 0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    writer = made.experiment
    assert writer.file_writer is None or writer.all_writers is None


def test_a_key_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert not loggers._has_key()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert loggers._has_key()
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert loggers._has_key()
