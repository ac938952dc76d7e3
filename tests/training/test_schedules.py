"""Learning rates against the formulas of the docstrings."""

import math

import pytest
import torch

from snnexp.training import schedules


def rates(schedule, steps, epochs, *, lr=1.0, **options):
    """Return the learning rate of every iteration."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    built = schedule(optimizer, steps, epochs, **options)
    out = []
    for _ in range(epochs):
        for _ in range(steps):
            out.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if built and built["interval"] == "step":
                built["scheduler"].step()
        if built and built["interval"] == "epoch":
            built["scheduler"].step()
    return out


def test_constant():
    assert rates(schedules.constant, 2, 2) == [1.0] * 4


def test_warmup_exponential_rises_each_iteration_then_decays_each_epoch():
    got = rates(schedules.warmup_exponential, 4, 3, warmup_epochs=1, warmup_divisor=None, gamma=0.5)
    assert got == pytest.approx([0.25, 0.5, 0.75, 1.0] + [0.5] * 4 + [0.25] * 4)


def test_warmup_divisor_reproduces_a_warmup_cut_short():
    got = rates(schedules.warmup_exponential, 1, 3, warmup_epochs=1, warmup_divisor=70, gamma=0.85)
    assert got == pytest.approx([1 / 70, 0.85 / 70, 0.85**2 / 70])


def test_without_warmup_the_first_epoch_has_the_full_rate():
    got = rates(schedules.warmup_exponential, 2, 2, warmup_epochs=0, warmup_divisor=None, gamma=0.5)
    assert got == pytest.approx([1, 1, 0.5, 0.5])


def test_cosine_falls_to_the_minimum_and_rises_again_past_its_period():
    got = rates(schedules.cosine, 1, 9, lr=0.2, period=4, minimum=0.1)
    expected = [0.1 + 0.1 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(9)]
    assert got == pytest.approx(expected)
    assert got[4] == pytest.approx(0.1)
    assert got[8] == pytest.approx(0.2)


def test_warmup_cosine_ends_near_zero():
    got = rates(schedules.warmup_cosine, 10, 5, warmup_epochs=1)
    assert got[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert got[10] == pytest.approx(1.0)
    assert got[-1] < 0.01


def test_step_multistep_exponential():
    assert rates(schedules.step, 1, 5, every=2, gamma=0.1) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rates(schedules.multistep, 1, 4, milestones=[1, 3], gamma=0.5) == pytest.approx(
        [1, 0.5, 0.5, 0.25]
    )
    assert rates(schedules.exponential, 2, 2, gamma=0.5) == pytest.approx([1, 1, 0.5, 0.5])


def test_plateau_is_idle_until_its_start_epoch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built = schedules.plateau(
        optimizer,
        1,
        20,
        monitor="train/loss",
        factor=0.1,
        patience=3,
        threshold=1e-4,
        start_epoch=5,
    )
    assert built["monitor"] == "train/loss"
    seen = []
    for _ in range(12):
        seen.append(optimizer.param_groups[0]["lr"])
        built["scheduler"].step(1.0)
    # epochs 0-4 are ignored, epoch 5 sets the best value, 6-8 are patience, 9 drops the rate
    assert seen[:10] == pytest.approx([1.0] * 10)
    assert seen[10] == pytest.approx(0.1)
