"""Averaged figures against their equation, and evaluation without autocast."""

from types import SimpleNamespace

import lightning as L
import pandas as pd
import pytest
import torch

from snnexp import evaluate
from snnexp.config.compose import compose_config
from snnexp.config.validate import validate
from snnexp.training.callbacks import History
from snnexp.training.evaluation import Float32Evaluation, Smoothed
from tests.training.toy import toy_module, toy_task

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning")


def fit(folder, epochs, callback, *, ckpt=None, module=None, **options):
    task = toy_task()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[callback, History(folder / "metrics.csv")],
        **options,
    )
    module = module or toy_module(task)
    trainer.fit(module, task.train_dataloader(), task.val_dataloader(), ckpt_path=ckpt)
    return trainer, module, pd.read_csv(folder / "metrics.csv")


def averages(values, decay):
    means = [values[0]]
    for x in values[1:]:
        means.append(decay * means[-1] + (1 - decay) * x)
    return means


def test_averages_follow_their_equation_and_go_on_after_a_cut(tmp_path):
    smoothed = Smoothed(figures=["val/loss", "val/top5"], decay=0.7)
    trainer, _, table = fit(tmp_path, 3, smoothed)
    assert table["val/loss"].nunique() > 1
    assert table["val/loss_ema"].tolist() == pytest.approx(
        averages(table["val/loss"], 0.7), abs=1e-6
    )
    # four classes have no top-5 accuracy
    assert "val/top5_ema" not in table
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    again = Smoothed(figures=["val/loss", "val/top5"], decay=0.7)
    _, _, table = fit(tmp_path, 5, again, ckpt=tmp_path / "cut.ckpt")
    assert len(table) == 5
    assert table["val/loss_ema"].tolist() == pytest.approx(
        averages(table["val/loss"], 0.7), abs=1e-6
    )


def test_an_epoch_without_validation_counts_no_figure_twice(tmp_path):
    smoothed = Smoothed(figures=["val/loss"], decay=0.5)
    _, _, table = fit(tmp_path, 4, smoothed, check_val_every_n_epoch=2)
    seen = averages(table["val/loss"][[1, 3]].tolist(), 0.5)
    assert table["val/loss_ema"][[1, 3]].tolist() == pytest.approx(seen, abs=1e-6)


def test_a_decay_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"callbacks\.smoothed\.decay=1\.0 must lie in"):
        Smoothed(figures=["val/acc"], decay=1.0)


def listening(module):
    """Note of each kind of step whether autocast was on."""
    heard = {}
    for step in ("training", "validation", "test"):
        inner = getattr(module, f"{step}_step")

        def spy(*args, step=step, inner=inner):
            heard[step] = torch.is_autocast_enabled("cpu")
            return inner(*args)

        setattr(module, f"{step}_step", spy)
    return heard


@pytest.mark.parametrize(("callback", "evaluated"), [(Float32Evaluation(), False), (None, True)])
def test_autocast_is_for_training_alone(tmp_path, callback, evaluated):
    module = toy_module(toy_task())
    heard = listening(module)
    callback = callback or L.Callback()
    trainer, _, _ = fit(tmp_path, 1, callback, module=module, precision="bf16-mixed")
    trainer.test(module, toy_task().test_dataloader(), verbose=False)
    assert heard == {"training": True, "validation": evaluated, "test": evaluated}


@pytest.mark.parametrize("experiment", ["fang2021_sew50_imagenet", "fang2021_spiking18_imagenet"])
def test_imagenet_is_trained_as_by_its_authors(experiment):
    cfg = validate(compose_config([f"experiment={experiment}"]))
    assert cfg.task.batch_size == 256
    assert list(cfg.callbacks.smoothed.figures) == ["val/acc", "val/top5"]
    assert cfg.callbacks.float32_evaluation._target_.endswith("Float32Evaluation")
    assert (cfg.trainer.precision, cfg.trainer.devices) == ("16-mixed", "auto")


@pytest.mark.parametrize(("callbacks", "full"), [("sew_imagenet", True), ("default", False)])
def test_a_test_after_training_is_that_of_the_run(callbacks, full):
    cfg = compose_config([f"callbacks={callbacks}", "trainer.precision=bf16-mixed"])
    run = SimpleNamespace(config=cfg)
    trainer = evaluate._trainer(run, "cpu", [])
    assert any(isinstance(c, Float32Evaluation) for c in trainer.callbacks) == full
