"""A finished run is taken up: weights, constants, prediction of files and tensors."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

import snnexp
from snnexp.config.validate import ConfigError
from snnexp.data.base import DataError, Part
from snnexp.models.base import SpecError
from snnexp.training.checkpoint import BEST, TASK, CheckpointError
from tests.training.toy import toy_task


@pytest.fixture(scope="module")
def loaded(finished):
    return snnexp.load(finished, trust=True)


def items(n=3):
    return torch.stack([toy_task().datasets["test"][i]["input"] for i in range(n)])


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, snnexp; assert snnexp.load; "
        "print([m for m in ('torch', 'lightning', 'hydra') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_knows_its_run(loaded, finished):
    assert loaded.spec == toy_task().spec
    assert loaded.result.id.startswith("toy/seed3/")
    assert loaded.config["seed"] == 3
    assert loaded.checkpoint.path == BEST.as_posix()
    assert loaded.checkpoint.epoch == loaded.result.metrics.selected_epoch
    assert len(loaded.checkpoint.sha256) == 64
    assert not loaded.model.training
    assert "those of the run" in loaded.statistics


def test_a_prediction_is_the_networks(loaded):
    x = items()
    found = loaded.predict(x)
    with torch.no_grad():
        p = loaded.module(x).prediction.softmax(1)
    for row, prediction in zip(p, found, strict=True):
        values = list(prediction.probabilities.values())
        assert values == sorted(values, reverse=True)
        assert values == pytest.approx(sorted(row.tolist(), reverse=True), rel=1e-4)
        assert prediction.label == loaded.spec.classes[int(row.argmax())]
        assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_rates_and_operations_are_of_the_one_input(loaded):
    one, two = loaded.predict(items(2))
    assert one.firing.samples == 1
    assert one.firing.total.rate != two.firing.total.rate
    assert one.operations.energy_nj > 0
    again = loaded.predict(items(1)[0])[0]
    assert again.firing == one.firing
    assert again.operations == one.operations
    spikes = [v for k, v in one.raster.items() if k.startswith("spikes_")]
    assert len(spikes) == 2
    assert one.raster["input"].shape == (8, 12)


def test_a_file_gives_what_its_tensor_gives(loaded, tmp_path):
    np.save(tmp_path / "three.npy", items().numpy())
    by_file = loaded.predict(tmp_path / "three.npy")
    assert [p.name for p in by_file] == ["item 0", "item 1", "item 2"]
    by_tensor = loaded.predict(items())
    assert [p.probabilities for p in by_file] == [p.probabilities for p in by_tensor]
    (second,) = loaded.predict(tmp_path / "three.npy", Part(index=1))
    assert second.probabilities == by_tensor[1].probabilities


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("none.npy", Part(), "no such file"),
        ("word.wav", Part(), r"toy, reads \.npy, not \.wav"),
        ("word", Part(), "files without an ending"),
        ("three.npy", Part(index=3), "inputs 0 to 2; asked for 3"),
        ("three.npy", Part(index=-1), "asked for -1"),
        ("three.npy", Part(start=1.0), "start and stop"),
    ],
)
def test_the_wrong_file_or_part_is_named(loaded, tmp_path, name, part, message):
    if not name.startswith("none"):
        np.save(tmp_path / "three.npy", items().numpy())
        (tmp_path / "three.npy").rename(tmp_path / name)
    with pytest.raises(DataError, match=message):
        loaded.predict(tmp_path / name, part)


def test_a_tensor_of_another_shape_is_refused(loaded):
    with pytest.raises(SpecError, match=r"\[12, 2, 8\].*given \[12, 8\]"):
        loaded.predict(torch.zeros(12, 8))


def test_constants_are_those_of_the_run(taken, tmp_path):
    kept = torch.load(taken / TASK, weights_only=True)
    torch.save(kept | {"state": {"scale": 2.0}}, taken / TASK)
    np.save(tmp_path / "a.npy", 2 * items(1).numpy())
    loaded = snnexp.load(taken, trust=True)
    assert loaded.task.scale == 2.0
    expected = snnexp.load(taken, trust=True).predict(items(1))[0].probabilities
    assert loaded.predict(tmp_path / "a.npy")[0].probabilities == expected
    # ... also after the data were set up for a test
    assert loaded.test_task().scale == 2.0


def test_a_run_that_kept_no_constants_computes_them_again_and_says_so(taken):
    (taken / TASK).unlink()
    loaded = snnexp.load(taken, trust=True)
    assert "computed again" in loaded.statistics
    assert loaded.spec == toy_task().spec
    with pytest.raises(DataError, match=r"kept no task\.pt"):
        snnexp.load(taken, trust=True, data="real")


def test_data_of_another_shape_are_refused(taken):
    kept = torch.load(taken / TASK, weights_only=True)
    kept["spec"]["classes"] = ("a", "b", "c", "other")
    torch.save(kept, taken / TASK)
    with pytest.raises(SpecError, match=r"classes is .* was"):
        snnexp.load(taken, trust=True).test_task()


def test_other_weights_can_be_named(taken, finished):
    last = snnexp.load(finished, trust=True, checkpoint="last")
    assert last.checkpoint.path == "checkpoints/last.ckpt"
    (taken / BEST).rename(taken / "mine.ckpt")
    mine = snnexp.load(finished, trust=True, checkpoint=str(taken / "mine.ckpt"))
    assert mine.checkpoint.sha256 == snnexp.load(finished, trust=True).checkpoint.sha256
    with pytest.raises(CheckpointError, match="expected best, last or a file"):
        snnexp.load(finished, trust=True, checkpoint="bset")
    with pytest.raises(CheckpointError, match="checkpoint=last"):
        snnexp.load(taken, trust=True)


def test_another_backend_gives_the_same(loaded, finished):
    reference = snnexp.load(finished, trust=True, backend="reference")
    for a, b in zip(loaded.predict(items()), reference.predict(items()), strict=True):
        assert a.probabilities == pytest.approx(b.probabilities)


def test_a_strangers_run_builds_nothing(taken, tmp_path):
    with pytest.raises(ConfigError, match="toy"):
        snnexp.load(taken)  # the toy task is no task of the framework
    config = yaml.safe_load((taken / "config.yaml").read_text())
    config["model"] = {"_target_": "os.system", "command": f"touch {tmp_path}/ran"}
    (taken / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"os\.system"):
        snnexp.load(taken)
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        snnexp.load(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        snnexp.load(tmp_path)
