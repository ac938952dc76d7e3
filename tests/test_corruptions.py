"""Disturbances do what their equations say, alike for every batching, and leave nothing behind."""

import pytest
import torch

from snnexp import corruptions as c
from snnexp.data.base import DataError, TaskSpec
from tests.training.toy import toy_module, toy_task

SPEC = TaskSpec(
    name="grid", kind="classification", step_shape=(2, 5, 7), n_steps=11, dt=None, classes=("a",)
)
STATIC = TaskSpec(
    name="image", kind="classification", step_shape=(3, 6, 6), n_steps=None, dt=None, classes=("a",)
)
X = torch.rand(200, 11, 2, 5, 7) + 1
INDEX = torch.arange(200)

OF_INPUT = [
    lambda s: c.Noise(sigma=s, snr_db=None, seed=1),
    lambda s: c.DropSteps(p=s, seed=1),
    lambda s: c.DropChannels(p=s, seed=1),
    lambda s: c.DropPixels(p=s, seed=1),
    lambda s: c.DropEvents(p=s, seed=1),
]


@pytest.mark.parametrize("make", OF_INPUT)
def test_strength_zero_changes_nothing(make):
    x = X.round()
    assert torch.equal(make(0.0).input(x, INDEX, SPEC), x)


@pytest.mark.parametrize("make", OF_INPUT)
def test_draws_belong_to_the_item_not_to_the_batch(make):
    x = X.round()[:20]
    whole = make(0.4).input(x, INDEX[:20], SPEC)
    order = torch.randperm(20)
    parts = [make(0.4).input(x[o], INDEX[o], SPEC) for o in order.split(3)]
    assert torch.equal(torch.cat(parts), whole[order])


@pytest.mark.parametrize("make", OF_INPUT)
def test_another_seed_draws_anew(make):
    other = make(0.4)
    other.seed = 2
    x = X.round()
    assert not torch.equal(other.input(x, INDEX, SPEC), make(0.4).input(x, INDEX, SPEC))


def test_noise_has_the_wanted_size_and_independent_values():
    e = c.Noise(sigma=0.3, snr_db=None, seed=0).input(X, INDEX, SPEC) - X
    assert e.mean().item() == pytest.approx(0, abs=0.003)
    assert e.std().item() == pytest.approx(0.3, rel=0.01)
    assert (e[0] * e[1]).mean().abs() < 0.02


def test_noise_of_a_given_snr_keeps_it_for_every_item():
    x = X * torch.arange(1, 201).view(-1, 1, 1, 1, 1)
    e = c.Noise(sigma=None, snr_db=10.0, seed=0).input(x, INDEX, SPEC) - x
    ratio = x.square().flatten(1).mean(1) / e.square().flatten(1).mean(1)
    torch.testing.assert_close(10 * ratio.log10(), torch.full((200,), 10.0), atol=1.0, rtol=0)
    silent = torch.zeros_like(X)
    assert torch.equal(c.Noise(sigma=None, snr_db=10.0, seed=0).input(silent, INDEX, SPEC), silent)


def test_bytes_stay_bytes():
    x = torch.randint(0, 256, (50, 3, 6, 6), dtype=torch.uint8)
    noisy = c.Noise(sigma=40.0, snr_db=None, seed=0).input(x, INDEX[:50], STATIC)
    assert noisy.dtype == torch.uint8
    # sums that wrap around would put white into black
    assert (noisy.int() - x.int()).abs().max() < 220
    for cls in (c.DropChannels, c.DropPixels, c.DropEvents):
        assert cls(p=0.5, seed=0).input(x, INDEX[:50], STATIC).dtype == torch.uint8


@pytest.mark.parametrize(
    ("cls", "same", "places"),
    [(c.DropSteps, (2, 3, 4), 11), (c.DropChannels, (1, 3, 4), 2), (c.DropPixels, (1, 2), 35)],
)
def test_what_is_dropped_is_dropped_whole(cls, same, places):
    x = cls(p=0.3, seed=5).input(X, INDEX, SPEC)
    kept = x != 0
    assert torch.equal(x[kept], X[kept])
    # of everything that shares a draw, all or nothing is kept
    assert torch.equal(kept.float().amax(same), kept.float().amin(same))
    share = 1 - kept.float().amax(same).mean().item()
    n = 200 * places
    assert share == pytest.approx(0.3, abs=4 * (0.21 / n) ** 0.5)


@pytest.mark.parametrize("cls", [c.DropSteps, c.DropChannels, c.DropPixels])
def test_a_stronger_one_drops_what_a_weaker_one_does(cls):
    weak = cls(p=0.2, seed=5).input(X, INDEX, SPEC)
    strong = cls(p=0.6, seed=5).input(X, INDEX, SPEC)
    assert ((strong != 0) <= (weak != 0)).all()
    assert (cls(p=1.0, seed=5).input(X, INDEX, SPEC) == 0).all()


def test_events_are_thinned_one_by_one():
    x = torch.full((100, 11, 2, 5, 7), 10.0)
    y = c.DropEvents(p=0.3, seed=0).input(x, INDEX[:100], SPEC)
    assert torch.equal(y, y.round())
    assert y.mean().item() == pytest.approx(7, rel=0.01)
    assert y.var().item() == pytest.approx(10 * 0.3 * 0.7, rel=0.05)
    for bad in (x + 0.5, -x):
        with pytest.raises(DataError, match="does not count events"):
            c.DropEvents(p=0.3, seed=0).input(bad, INDEX[:100], SPEC)


def test_places_of_steps_with_one_axis_and_of_images():
    flat = TaskSpec(
        name="flat", kind="classification", step_shape=(30,), n_steps=4, dt=None, classes=("a",)
    )
    y = c.DropPixels(p=0.5, seed=0).input(torch.ones(9, 4, 30), INDEX[:9], flat)
    assert torch.equal(y.amax(1), y.amin(1))
    assert 0.3 < y.mean() < 0.7
    y = c.DropPixels(p=0.5, seed=0).input(torch.ones(9, 3, 6, 6), INDEX[:9], STATIC)
    assert torch.equal(y.amax(1), y.amin(1))
    y = c.DropChannels(p=0.5, seed=0).input(torch.ones(9, 3, 6, 6), INDEX[:9], STATIC)
    assert torch.equal(y.amax((2, 3)), y.amin((2, 3)))
    with pytest.raises(DataError, match="no time steps"):
        c.DropSteps(p=0.5, seed=0).input(torch.ones(9, 3, 6, 6), INDEX[:9], STATIC)


@pytest.mark.parametrize(
    "make",
    [
        lambda: c.DropSteps(p=1.5, seed=0),
        lambda: c.DropNeurons(p=-0.1, seed=0),
        lambda: c.Noise(sigma=None, snr_db=None, seed=0),
        lambda: c.Noise(sigma=1.0, snr_db=1.0, seed=0),
        lambda: c.NoisyWeights(sigma=-1.0, seed=0),
    ],
)
def test_strengths_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="corrupt"):
        make()


@pytest.fixture
def module():
    return toy_module(toy_task()).eval()


def weights(module):
    return {k: v.clone() for k, v in module.model.named_parameters()}


def test_synapses_go_missing_and_come_back(module):
    before = weights(module)
    with c.DropWeights(p=0.3, seed=0).network(module.model):
        during = weights(module)
    for key, old in before.items():
        gone = during[key] == 0
        assert torch.equal(during[key][~gone], old[~gone])
        if old.dim() == 1:
            assert not gone.any()
    total = torch.cat([(during[k] == 0).flatten() for k, v in before.items() if v.dim() > 1])
    assert total.float().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / len(total)) ** 0.5)
    assert all(torch.equal(v, before[k]) for k, v in weights(module).items())


def test_weights_come_back_after_an_error_too(module):
    before = weights(module)
    changed = {}

    def fail():
        with c.NoisyWeights(sigma=0.5, seed=0).network(module.model):
            changed.update(weights(module))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    key = "readout.linear.weight"
    shift = changed[key] - before[key]
    assert shift.std().item() == pytest.approx(0.5 * before[key].std().item(), rel=0.15)
    assert all(torch.equal(v, before[k]) for k, v in weights(module).items())


def test_silent_neurons_are_counted_as_silent_and_speak_again(module):
    x = torch.rand(6, 12, 2, 8) * 3
    module.tape.keep_spikes = True
    module(x)
    free = {k: (f.counts.clone(), f.spikes.clone()) for k, f in module.tape.items()}
    with c.DropNeurons(p=0.5, seed=0).network(module.model):
        module(x)
        held = {k: (f.counts.clone(), f.spikes.clone()) for k, f in module.tape.items()}
    first = next(iter(free))
    counts, spikes = held[first]
    time = next(m for m in module.model.neurons).time_dim
    torch.testing.assert_close(spikes.sum(time), counts)
    silent = (counts == 0).all(0)
    assert torch.equal(counts[:, ~silent], free[first][0][:, ~silent])
    alive = (free[first][0] > 0).any(0)
    assert (silent & alive).sum() / alive.sum() == pytest.approx(0.5, abs=0.2)
    module(x)
    assert torch.equal(module.tape[first].counts, free[first][0])
    with c.DropNeurons(p=1.0, seed=0).network(module.model):
        module(x)
        assert not any(f.counts.any() for f in module.tape.values())


def test_a_network_without_neurons_has_none_to_drop():
    with (
        pytest.raises(DataError, match="drop_weights"),
        c.DropNeurons(p=0.1, seed=0).network(torch.nn.Linear(2, 2)),
    ):
        pass
