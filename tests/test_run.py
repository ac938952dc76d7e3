"""Whole runs on the toy task: what they leave behind when they end well, fail, or are cut."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf, open_dict

from snnexp.assembly import make_module
from snnexp.config.compose import compose_config
from snnexp.config.validate import validate
from snnexp.data.base import DataError
from snnexp.report.record import read_result
from snnexp.run import run
from snnexp.training import callbacks
from snnexp.training.checkpoint import CheckpointError
from tests.training import toy

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)

TOY = {
    "_target_": "tests.training.toy.ToyTask",
    "data": "sample",
    "data_dir": "",
    "cache_dir": "",
    "batch_size": 8,
    "num_workers": 0,
    "noise": 0.3,
}


def config(folder, *overrides, task=None):
    cfg = compose_config(
        [
            "name=toy",
            "model.channels=[6,6]",
            "model.kernels=[[3,3],[3,3]]",
            "model.dilations=[[1,1],[2,1]]",
            "optimizer.lr=0.02",
            "trainer.max_epochs=3",
            "trainer.accelerator=cpu",
            "callbacks.progress.style=lines",
            f"output_dir={folder}",
            *overrides,
        ]
    )
    with open_dict(cfg):
        cfg.task = OmegaConf.create({**TOY, **(task or {})})
    return validate(cfg)


def folders(root):
    return sorted(p.parent for p in Path(root).glob("runs/*/*/*/result.json"))


def test_a_module_for_a_cpu_has_its_weights_as_the_input_lies(tmp_path):
    module = make_module(config(tmp_path), toy.toy_task(), torch.device("cpu"))
    weight = module.model.convs[1].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_a_complete_run_leaves_everything(tmp_path, capsys):
    value = run(config(tmp_path))
    (folder,) = folders(tmp_path)
    result = read_result(folder)
    assert result.status == "complete"
    assert folder.parent == tmp_path / "runs" / "toy" / "seed0"
    assert result.metrics.selected["test/acc"] == value
    assert result.metrics.selected.keys() == result.metrics.last.keys()
    assert result.metrics.max_over_epochs is None
    assert result.metrics.monitor == "val/acc"
    assert result.baselines == {"chance": 0.25}
    assert result.data.kind == "sample"
    assert result.firing.layers.keys() == {"neurons.0", "neurons.1"}
    assert result.operations.energy_nj > 0
    assert result.size.parameters == sum(
        v.numel()
        for v in torch.load(folder / "checkpoints/last.ckpt", weights_only=True)[
            "state_dict"
        ].values()
    )
    assert result.environment.backend == "cpu"
    assert result.cost.epochs == 3
    assert OmegaConf.load(folder / "config.yaml") == OmegaConf.create(result.config)
    assert len(pd.read_csv(folder / "metrics.csv")) == 3
    for name in ("curves", "confusion", "rates", "raster"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 1000, result.figures
    assert "sample data" in capsys.readouterr().out


def test_mixed_precision_runs_and_is_recorded(tmp_path):
    run(config(tmp_path, "trainer.precision=bf16-mixed"))
    result = read_result(folders(tmp_path)[0])
    assert result.environment.precision == "bf16-mixed"
    assert result.metrics.selected["test/acc"] > 0.5
    content = torch.load(folders(tmp_path)[0] / "checkpoints/best.ckpt", weights_only=True)
    assert {v.dtype for v in content["state_dict"].values()} == {torch.float32}


def test_runs_of_one_config_never_share_a_folder(tmp_path):
    first, second = run(config(tmp_path)), run(config(tmp_path))
    assert first == second
    assert len(folders(tmp_path)) == 2


def test_selecting_on_test_records_the_maximum_over_epochs(tmp_path):
    run(config(tmp_path, "select_on=test"))
    result = read_result(folders(tmp_path)[0])
    history = pd.read_csv(folders(tmp_path)[0] / "metrics.csv")
    assert result.metrics.select_on == "test"
    assert result.metrics.max_over_epochs["test/acc"] == pytest.approx(history["val/acc"].max())
    assert result.metrics.selected["test/acc"] == pytest.approx(history["val/acc"].max())


def test_a_failed_run_leaves_a_record(tmp_path, monkeypatch):
    def no_data(self, stage=None):
        raise DataError("the file is not there")

    monkeypatch.setattr(toy.ToyTask, "setup", no_data)
    with pytest.raises(DataError):
        run(config(tmp_path))
    result = read_result(folders(tmp_path)[0])
    assert result.status == "failed"
    assert "the file is not there" in result.error


def test_a_cut_run_is_resumed_in_its_folder_to_the_same_end(tmp_path, monkeypatch):
    whole = run(config(tmp_path / "whole"))

    def cut(self, trainer, *args):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.FiniteLoss, "on_train_batch_end", cut)
        with pytest.raises(SystemExit):
            run(config(tmp_path / "cut"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it from here on
    (folder,) = folders(tmp_path / "cut")
    assert read_result(folder).status == "interrupted"
    assert run(config(tmp_path / "cut", "resume=auto")) == whole
    assert folders(tmp_path / "cut") == [folder]
    result = read_result(folder)
    assert result.status == "complete"
    assert result.resumes == 1
    tables = [
        pd.read_csv(f / "metrics.csv").drop(columns="seconds")
        for f in (folder, folders(tmp_path / "whole")[0])
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_resume_auto_without_a_cut_run_starts_a_new_one(tmp_path):
    run(config(tmp_path, "resume=auto"))
    run(config(tmp_path, "resume=auto"))
    assert [read_result(f).status for f in folders(tmp_path)] == ["complete", "complete"]


def test_a_named_checkpoint_must_exist(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: no such checkpoint"):
        run(config(tmp_path, "resume=nowhere.ckpt"))


def test_a_model_that_cannot_serve_the_task_is_refused_with_a_record(tmp_path):
    from snnexp.models.base import SpecError

    cfg = config(tmp_path)
    OmegaConf.set_readonly(cfg, False)
    with open_dict(cfg):
        cfg.loss = OmegaConf.create(
            {"_target_": "snnexp.losses.MeanSquaredRate", "activity": None, "_partial_": False}
        )
        cfg.model._target_ = "tests.test_run.ForDepth"
    with pytest.raises(SpecError, match="ForDepth needs depth"):
        run(cfg)
    assert read_result(folders(tmp_path)[0]).status == "failed"


def ForDepth(spec, **config):  # noqa: N802 - stands for a model class
    from snnexp.models.base import Model

    class ForDepth(Model):
        def __init__(self):
            super().__init__(spec)
            self.require(spec.kind == "depth", "depth")

    return ForDepth()


def command(folder, *more):
    return [
        sys.executable,
        "-m",
        "snnexp",
        "task=traffic",
        "model=fc_snn",
        f"output_dir={folder}",
        *more,
    ]


def test_a_typo_is_answered_without_a_traceback(tmp_path):
    done = subprocess.run(
        command(tmp_path, "trainer.max_epoch=3"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "Did you mean 'trainer.max_epochs'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_missing_real_data_are_named_without_a_traceback(tmp_path):
    done = subprocess.run(
        command(tmp_path, "data=real", f"data_dir={tmp_path}/none"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "data_dir" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = folders(tmp_path)
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"


@pytest.mark.slow
def test_ctrl_c_leaves_a_record_and_a_checkpoint(tmp_path):
    code = (
        "import sys; from tests.test_run import config, run; "
        f"run(config({str(tmp_path)!r}, 'trainer.max_epochs=500'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not list(tmp_path.glob("runs/*/*/*/metrics.csv")):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    (folder,) = folders(tmp_path)
    assert read_result(folder).status == "interrupted"
    assert (folder / "checkpoints/last.ckpt").is_file()


def test_a_time_limit_gives_up_the_epoch_it_cuts_and_tests_the_ones_before(tmp_path, monkeypatch):
    whole = run(config(tmp_path / "whole"))
    looks = []

    def remaining(self):
        looks.append(1)
        return 8 - len(looks)  # six batches an epoch: over with the second batch of the second

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.TimeLimit, "time_remaining", remaining)
        run(config(tmp_path / "cut", "trainer.max_time=00:01:00:00"))
    (folder,) = folders(tmp_path / "cut")
    result = read_result(folder)
    assert result.status == "interrupted"
    assert "trainer.max_time is over, with 1 of 3 epochs done; resume=auto" in result.error
    assert result.metrics.selected_epoch == 0
    assert result.metrics.last == result.metrics.selected
    assert result.environment.global_batch == 8
    assert list(pd.read_csv(folder / "metrics.csv").epoch) == [0]
    # another limit is no other run
    assert run(config(tmp_path / "cut", "trainer.max_time=01:00:00:00", "resume=auto")) == whole
    assert folders(tmp_path / "cut") == [folder]
    assert read_result(folder).status == "complete"
    tables = [
        pd.read_csv(f / "metrics.csv").drop(columns="seconds")
        for f in (folder, folders(tmp_path / "whole")[0])
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_time_limit_before_the_first_epoch_ends_without_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks.TimeLimit, "time_remaining", lambda self: 0)
    with pytest.raises(callbacks.TimeLimitError, match="with 0 of 3 epochs done"):
        run(config(tmp_path, "trainer.max_time=00:00:00:01"))
    (folder,) = folders(tmp_path)
    assert read_result(folder).status == "interrupted"
    assert (folder / "checkpoints/last.ckpt").is_file()
