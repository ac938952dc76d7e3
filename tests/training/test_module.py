"""The training module and its callbacks on a toy task: learning, logging, resuming, stopping."""

import logging

import lightning as L
import pandas as pd
import pytest
import torch

from snnexp.data.base import ArrayDataset
from snnexp.models.base import SpecError
from snnexp.training import schedules
from snnexp.training.callbacks import (
    DeadNeuronWarning,
    EpochSeed,
    FiniteLoss,
    History,
    TrainingDivergedError,
)
from snnexp.training.module import CheckpointMismatchError
from snnexp.training.run_checkpoint import RunCheckpoint
from tests.training.toy import SIZES, toy_module, toy_task

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning")


def trainer(folder, epochs, *more, seed=0):
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[
            *more,
            EpochSeed(seed),
            History(folder / "metrics.csv"),
            RunCheckpoint(folder, "val/acc", "max"),
        ],
    )


def fit(folder, epochs, *more, module=None, task=None, ckpt=None, **options):
    task = task or toy_task()
    module = module or toy_module(task, **options)
    folder.mkdir(exist_ok=True)
    trainer_ = trainer(folder, epochs, *more)
    trainer_.fit(module, task.train_dataloader(), task.val_dataloader(), ckpt_path=ckpt)
    return trainer_, module


def rows(folder):
    return pd.read_csv(folder / "metrics.csv")


def test_it_learns_and_writes_a_row_an_epoch(tmp_path):
    fit(tmp_path / "a", 8)
    table = rows(tmp_path / "a")
    assert list(table.epoch) == list(range(8))
    assert table["train/loss"].iloc[-1] < table["train/loss"].iloc[0]
    assert table["val/acc"].iloc[-1] > 0.6
    for key in ("train/rate", "val/rate/model.neurons.0", "val/dead", "train/activity", "lr"):
        key = key.replace("model.", "")
        assert key in table, list(table)
    assert (tmp_path / "a" / "best.ckpt").exists()
    assert (tmp_path / "a" / "last.ckpt").exists()


def test_a_test_counts_every_item_once(tmp_path):
    task = toy_task()
    trainer_, module = fit(tmp_path / "a", 1, task=task)
    trainer_.test(module, task.test_dataloader(), verbose=False)
    found = module.tested
    assert found.predictions.scores.shape == (SIZES["test"], 4)
    assert found.predictions.index.tolist() == list(range(SIZES["test"]))
    acc = (found.predictions.scores.argmax(1) == found.predictions.target).float().mean()
    assert found.metrics["test/acc"] == pytest.approx(acc.item())
    assert sum(map(sum, found.confusion)) == SIZES["test"]
    assert found.synops["samples"] == SIZES["test"]
    assert found.activity["samples"] == SIZES["test"]
    # the first convolution sees real numbers, the others spikes
    kinds = {k: v["kind"] for k, v in found.synops["layers"].items()}
    assert kinds == {"convs.0": "mac", "convs.1": "ac", "readout.linear": "ac"}


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (schedules.exponential, {"gamma": 0.7}),
        (
            schedules.warmup_exponential,
            {"warmup_epochs": 1, "warmup_divisor": None, "gamma": 0.7},
        ),
    ],
    ids=["by epoch", "by step"],
)
def test_a_resumed_run_continues_to_the_same_numbers(tmp_path, schedule, options):
    _, module = fit(tmp_path / "whole", 5, schedule=schedule, **options)

    class Cut(L.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.current_epoch == 2 and trainer.global_step % 6 == 3:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(tmp_path / "cut", 5, Cut(), schedule=schedule, **options)
    _, resumed = fit(
        tmp_path / "cut",
        5,
        ckpt=str(tmp_path / "cut" / "last.ckpt"),
        schedule=schedule,
        seed=99,
        **options,
    )
    a, b = rows(tmp_path / "whole"), rows(tmp_path / "cut")
    pd.testing.assert_frame_equal(
        a.drop(columns="seconds"), b.drop(columns="seconds"), check_exact=True
    )
    for key, value in module.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value, rtol=0, atol=0)


def test_a_run_cut_in_its_first_epoch_can_be_resumed(tmp_path):
    fit(tmp_path / "whole", 2)

    class Cut(L.Callback):
        def on_train_batch_end(self, *args):
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(tmp_path / "cut", 2, Cut())
    fit(tmp_path / "cut", 2, ckpt=str(tmp_path / "cut" / "last.ckpt"), seed=99)
    a, b = rows(tmp_path / "whole"), rows(tmp_path / "cut")
    pd.testing.assert_frame_equal(
        a.drop(columns="seconds"), b.drop(columns="seconds"), check_exact=True
    )


def test_the_same_seed_gives_the_same_run_and_zero_is_a_seed(tmp_path):
    tables = [
        fit(tmp_path / str(i), 2, module=toy_module(toy_task(), seed=s))[0]
        and rows(tmp_path / str(i))
        for i, s in enumerate((0, 0, 1))
    ]
    drop = [t.drop(columns="seconds") for t in tables]
    pd.testing.assert_frame_equal(drop[0], drop[1], check_exact=True)
    assert not drop[0].equals(drop[2])


def test_checkpoints_hold_weights_only(tmp_path):
    fit(tmp_path / "a", 1)
    state = torch.load(tmp_path / "a" / "best.ckpt", weights_only=True)
    names = set(state["state_dict"])
    assert names
    assert all(n.startswith("model.") for n in names)
    assert {n.split(".")[-1] for n in names} == {"weight", "decay", "v_th", "offset"}


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    fit(tmp_path / "a", 1)
    task = toy_task()
    other = toy_module(task)
    other.model.convs[0] = torch.nn.Conv2d(2, 5, 3)
    with pytest.raises(CheckpointMismatchError, match=r"another model(.|\n)*convs\.0\.weight"):
        fit(tmp_path / "b", 2, module=other, task=task, ckpt=str(tmp_path / "a" / "last.ckpt"))


def test_a_loss_of_nan_stops_the_run(tmp_path):
    module = toy_module(toy_task())
    with torch.no_grad():
        module.model.readout.offset.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match=r"loss became nan at epoch 0.*optimizer\.lr"):
        fit(tmp_path / "a", 1, FiniteLoss(every=1), module=module)


def test_an_input_of_nan_stops_the_run(tmp_path):
    task = toy_task()
    data = task.datasets["train"]
    task.datasets["train"] = ArrayDataset(data.inputs * torch.nan, data.targets)
    with pytest.raises(TrainingDivergedError, match="input of training batch 0"):
        fit(tmp_path / "a", 1, FiniteLoss(every=1), task=task)


def test_best_is_kept_while_last_moves_on(tmp_path):
    class Fake(L.Callback):
        def on_validation_epoch_end(self, trainer, module):
            module.log("val/fake", [0.5, 0.9, 0.1][trainer.current_epoch])

    task = toy_task()
    last = RunCheckpoint(tmp_path, "val/fake", "max")
    L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[Fake(), last],
    ).fit(toy_module(task), task.train_dataloader(), task.val_dataloader())
    assert last.best_epoch == 1
    epochs = {
        name: torch.load(tmp_path / name, weights_only=True)["epoch"]
        for name in ("best.ckpt", "last.ckpt")
    }
    assert epochs == {"best.ckpt": 1, "last.ckpt": 3}
    assert not list(tmp_path.glob("*.tmp"))


def test_a_loss_for_another_kind_of_task_is_refused():
    task = toy_task()
    module = toy_module(task)
    module.loss.kind = "depth"
    with pytest.raises(SpecError, match=r"serves depth, task toy is classification.*loss="):
        type(module)(task.spec, module.model, module.loss, module.rule, None, None)


def test_dead_layers_are_named_once(tmp_path, caplog):
    task = toy_task()
    module = toy_module(task)
    with torch.no_grad():
        module.model.neurons[0].v_th.fill_(1e6)
    with caplog.at_level(logging.WARNING, "snnexp"):
        fit(tmp_path / "a", 2, DeadNeuronWarning(share=0.5), module=module, task=task)
    named = [r.getMessage() for r in caplog.records if "never fired" in r.getMessage()]
    assert sum("neurons.0" in m for m in named) == 1
    assert "loss.activity.weight" in named[0]
