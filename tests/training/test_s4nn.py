"""The rule s4nn in the trainer: it is the kernel's pass in file order, and what surrounds it."""

from __future__ import annotations

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from snnexp.data.base import ArrayDataset, TaskSpec, collate
from snnexp.kernels.s4nn import Inference, SpikeTrains, count_right, cpu, reference, scores
from snnexp.models import s4nn as models
from snnexp.models.base import SpecError
from snnexp.training import schedules
from snnexp.training.module import SNNModule
from snnexp.training.run_checkpoint import RunCheckpoint
from snnexp.training.s4nn import S4NN, RelativeLatency

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]
T_MAX = 256
SPEC = TaskSpec(
    name="halves",
    kind="classification",
    step_shape=(1, 4, 4),
    n_steps=None,
    dt=None,
    classes=("left", "right", "both"),
)
SGD = partial(torch.optim.SGD, lr=0.2, momentum=0.0, weight_decay=1e-4)


def halves(n=90, seed=0):
    """Pictures whose left half, right half or both are bright."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.integers(0, 50, (n, 1, 4, 4)).astype(np.uint8)
    x[(y == 0) | (y == 2), ..., :2] += 150
    x[(y == 1) | (y == 2), ..., 2:] += 150
    return torch.from_numpy(x), torch.from_numpy(y)


def network(**changes):
    torch.manual_seed(0)
    settings = {
        "hidden": [20],
        "threshold": 10.0,
        "init": [4.0, 8.0],
        "gamma": 3,
        "t_max": T_MAX,
        "dtype": "float64",
        "label_order": None,
        "backend": "cpu",
    }
    return models.S4NN(SPEC, **(settings | changes))


def module_of(model, optimizer=SGD, scheduler=schedules.constant, batch=1, redraw_below=0.0):
    return SNNModule(
        SPEC,
        model,
        RelativeLatency(gamma=3, t_max=T_MAX),
        S4NN(batch=batch, redraw_below=redraw_below),
        optimizer,
        scheduler,
    )


def fit(module, x, y, epochs=1, batch_size=32):
    loader = DataLoader(ArrayDataset(x, y), batch_size=batch_size, collate_fn=collate)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, loader)
    return trainer


def by_hand(model, x, y, rates, batch=1):
    """Run the kernel over the images in file order, an epoch a rate; return weights and figures."""
    weights = tuple(layer.weight.detach().numpy().copy() for layer in model.stack)
    trains = SpikeTrains.from_images(x.numpy(), T_MAX)
    for lr in rates:
        constants = model.constants([lr] * 2, [1e-4] * 2)
        seen = cpu.train(weights, trains, y.numpy(), constants, batch)
    return weights, seen


def same(model, weights):
    for layer, w in zip(model.stack, weights, strict=True):
        np.testing.assert_allclose(layer.weight.numpy(), w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 90])
def test_it_learns_image_by_image_in_file_order_whatever_the_batches(batch_size):
    x, y = halves()
    module = module_of(network())
    weights, seen = by_hand(module.model, x, y, [0.2, 0.2])
    trainer = fit(module, x, y, epochs=2, batch_size=batch_size)
    same(module.model, weights)
    logged = trainer.callback_metrics
    right = count_right(scores(seen.output, T_MAX), y.numpy())
    assert logged["train/acc"] == pytest.approx(right["potential"] / 90)
    assert logged["train/acc_ties_right"] == pytest.approx(right["ties_right"] / 90)
    assert logged["train/acc_unique"] == pytest.approx(right["unique"] / 90)
    assert logged["train/loss"] == pytest.approx(seen.loss, rel=1e-5)
    for layer, time in enumerate(seen.time):
        assert logged[f"train/time/layers.{layer}"] == pytest.approx(time, rel=1e-6)


def test_it_solves_a_small_problem():
    x, y = halves(300)
    module = module_of(network())
    fit(module, x, y, epochs=8)
    fresh, labels = halves(200, seed=1)
    assert (module.model(fresh).prediction.argmax(1) == labels).float().mean() > 0.9


def test_the_schedule_sets_the_rate_of_each_epoch():
    x, y = halves()
    module = module_of(network(), scheduler=partial(schedules.step, every=1, gamma=0.5))
    weights, _ = by_hand(module.model, x, y, [0.2, 0.1, 0.05])
    fit(module, x, y, epochs=3)
    same(module.model, weights)


def test_a_batch_rule_is_the_kernels():
    x, y = halves()
    module = module_of(network(), batch=5)
    weights, _ = by_hand(module.model, x, y, [0.2], batch=5)
    fit(module, x, y, batch_size=30)
    same(module.model, weights)


def test_label_order_reaches_the_rule():
    x, y = halves()
    order = [2, 0, 1]
    module = module_of(network(label_order=order))
    units = torch.tensor([order.index(int(k)) for k in y])
    weights, _ = by_hand(module.model, x, units, [0.2])
    fit(module, x, y)
    same(module.model, weights)


def silent_unit():
    """A network whose hidden unit 3 never fires, its data, and what an epoch makes of it."""
    x, y = halves()
    model = network()
    with torch.no_grad():
        model.layers[0].weight[:, 3] = -1.0
    weights, seen = by_hand(model, x, y, [0.2])
    assert np.flatnonzero(seen.fired[0] == 0).tolist() == [3]
    return model, x, y, weights


def test_silent_hidden_units_are_drawn_anew_before_the_next_epoch():
    model, x, y, weights = silent_unit()
    module = module_of(model, redraw_below=0.001)
    fit(module, x, y)
    same(model, weights)
    module.rule.start_epoch(module)
    hidden, output = (layer.weight for layer in model.stack)
    assert 0 <= hidden[:, 3].min() < hidden[:, 3].max() <= 4.0
    others = torch.arange(20) != 3
    np.testing.assert_allclose(hidden[:, others].numpy(), weights[0][:, others.numpy()])
    np.testing.assert_allclose(output.numpy(), weights[1])


def test_a_run_that_goes_on_draws_the_same_units_anew():
    model, x, y, _ = silent_unit()
    module = module_of(model, redraw_below=0.001)
    fit(module, x, y)
    content = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    other = module_of(network(), redraw_below=0.001)
    other.on_load_checkpoint(content)
    (silent,) = other.rule.silent
    assert silent.nonzero().flatten().tolist() == [3]


def test_the_weights_kept_are_those_that_were_validated(tmp_path):
    model, x, y, weights = silent_unit()
    module = module_of(model, redraw_below=0.001)
    loader = DataLoader(ArrayDataset(x, y), batch_size=32, collate_fn=collate)
    keeper = RunCheckpoint(tmp_path, "val/acc", "max")
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=[keeper],
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, loader, loader)
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    for index, w in enumerate(weights):
        np.testing.assert_allclose(kept[f"model.layers.{index}.weight"].numpy(), w)


# --- the loss -------------------------------------------------------------------------------------


def test_the_loss_is_the_references():
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(1, 40, (200, 5)) * 7, 1)
    times[rng.random(times.shape) < 0.3] = T_MAX
    times[:5] = T_MAX
    times[5, 0] = 255
    times = rng.permuted(times.clip(max=T_MAX), axis=1).astype(np.int32)
    y = rng.integers(0, 5, 200)
    constants = network().constants([0.0], [0.0])
    expected = [
        0.5 * (reference.output_error(t, int(k), constants, np.float64) ** 2).sum()
        for t, k in zip(times, y, strict=True)
    ]
    prediction = torch.from_numpy(scores(Inference((times,), rng.normal(size=(200, 5))), T_MAX))
    terms = RelativeLatency(gamma=3, t_max=T_MAX)(prediction, torch.from_numpy(y), {})
    assert terms["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert terms["decision_time"] == pytest.approx(times.min(1).mean())
    assert terms["silent"] == pytest.approx((times.min(1) == T_MAX).mean())


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": partial(torch.optim.Adam, lr=0.1)}, "optimizer=s4nn"),
        ({"optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9)}, "optimizer=s4nn"),
        (
            {
                "scheduler": partial(
                    schedules.plateau,
                    monitor="train/loss",
                    factor=0.1,
                    patience=3,
                    threshold=1e-4,
                    start_epoch=5,
                )
            },
            "scheduler=cosine",
        ),
    ],
)
def test_what_the_rule_cannot_use_is_refused(options, message):
    x, y = halves(10)
    with pytest.raises(SpecError, match=message):
        fit(module_of(network(), **options), x, y)


def test_another_model_is_refused():
    rule = S4NN(batch=1, redraw_below=0.0)
    with pytest.raises(SpecError, match="not Linear; use rule=bptt"):
        rule.configure(torch.nn.Linear(2, 2), SGD, schedules.constant, 1, 1)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"rule\.batch=0"):
        S4NN(batch=0, redraw_below=0.0)
    with pytest.raises(ValueError, match=r"rule\.redraw_below=1"):
        S4NN(batch=1, redraw_below=1.0)
