import pytest
import torch
import torch.nn as nn

from snnexp.metrics.activity import Activity, Tape, activity_scalars, channel_raster


def batches(sizes, shape=(6, 5), seed=1):
    """Inputs [T, B, F] of uneven sizes."""
    generator = torch.Generator().manual_seed(seed)
    steps, features = shape
    return [torch.randn(steps, size, features, generator=generator) for size in sizes]


def spikes_of(tape, name):
    spikes = tape[name].spikes
    assert spikes is not None
    return spikes


def stored(tape, spikes):
    """Keep what a tape heard: layer -> list of spikes [T, B, N]."""
    for name, firing in tape.items():
        spikes.setdefault(name, []).append(firing.spikes.detach().clone())


def brute_force(spikes, dt):
    """The figures from the stored spikes of all batches, cut to one tensor a layer."""
    figures: dict[str, dict[str, float]] = {}
    everything, neurons, dead = [], 0, 0.0
    for name, parts in spikes.items():
        s_TBN = torch.cat(parts, 1)
        never = (s_TBN.sum((0, 1)) == 0).sum().item()
        rate = s_TBN.double().mean().item()
        figures[name] = {
            "rate": rate,
            "hz": rate / dt,
            "dead": never / s_TBN[0, 0].numel(),
            "spikes_per_neuron": s_TBN.double().sum(0).mean().item(),
            "neurons": s_TBN[0, 0].numel(),
        }
        everything.append(s_TBN.flatten(2))
        neurons, dead = neurons + s_TBN[0, 0].numel(), dead + never
    joined = torch.cat(everything, 2).double()
    total = {
        "rate": joined.mean().item(),
        "hz": joined.mean().item() / dt,
        "dead": dead / neurons,
        "spikes_per_neuron": joined.sum(0).mean().item(),
        "neurons": neurons,
    }
    return figures, total


def test_prices_go_back_layer_by_layer(time_first):
    went = []

    class Price(torch.autograd.Function):
        @staticmethod
        def forward(ctx, spikes):
            ctx.save_for_backward(spikes)
            return spikes.sum()

        @staticmethod
        def backward(ctx, grad):
            went.append("price")
            return grad.expand(ctx.saved_tensors[0].shape)

    def price(spikes):
        spikes.register_hook(lambda _: went.append("layer"))
        return Price.apply(spikes)

    tape = Tape(time_first, price=price)
    out = time_first(batches([4])[0])
    layers = [firing.priced for firing in tape.values()]
    assert len(layers) > 1
    assert tape["lif1"].spikes is None
    (out.sum() + torch.stack(layers).sum()).backward()
    # no price's gradient is there before the layer behind has had its own
    assert went == ["price", "layer"] * len(layers)


def test_streaming_equals_stored_spikes_with_an_uneven_last_batch(time_first):
    tape, activity = Tape(time_first, spikes=True), Activity(dt=0.01)
    spikes: dict[str, list[torch.Tensor]] = {}
    for x in batches([4, 4, 3]):
        time_first(x)
        activity.update(tape)
        stored(tape, spikes)
    measured, (layers, total) = activity.compute(), brute_force(spikes, 0.01)
    assert measured["samples"] == 11
    assert list(measured["layers"]) == ["lif1", "lif2"]
    for name, figures in layers.items():
        assert measured["layers"][name] == pytest.approx(figures, rel=1e-12)
    assert measured["total"] == pytest.approx(total, rel=1e-12)
    assert 0 < total["rate"] < 1


def test_a_static_input_counts_at_each_step_it_is_shown(shown):
    tape, activity = Tape(shown, spikes=True), Activity(dt=0.01)
    y_TBF = shown(torch.randn(3, 4))
    assert tape["neuron"].steps == 5
    assert y_TBF.any()
    activity.update(tape)
    _, expected = brute_force({"neuron": [spikes_of(tape, "neuron").detach()]}, dt=0.01)
    assert activity.compute()["total"] == pytest.approx(expected)
    assert expected["rate"] == pytest.approx(y_TBF.mean().item())


def test_batch_axis_of_a_layer_that_keeps_time_behind_channels(conv_over_time):
    tape, activity = Tape(conv_over_time, spikes=True), Activity()
    kept = []
    for size in (3, 2):
        conv_over_time(torch.randn(size, 2, 8, 5, generator=torch.Generator().manual_seed(size)))
        activity.update(tape)
        kept.append(spikes_of(tape, "lif").detach())
    s_BCTF = torch.cat(kept)
    figures = activity.compute()["layers"]["lif"]
    assert figures["rate"] == pytest.approx(s_BCTF.double().mean().item(), rel=1e-12)
    assert figures["dead"] == (s_BCTF.sum((0, 2)) == 0).sum().item() / 20
    assert figures["spikes_per_neuron"] == pytest.approx(s_BCTF.sum(2).mean().item())
    assert figures["neurons"] == 20
    assert figures["hz"] is None


def test_dead_means_never_in_the_whole_epoch(time_first):
    time_first.fc1.bias.data[:3] = -100  # three neurons of seven never fire
    time_first.fc1.bias.data[3:] = 100
    tape, activity = Tape(time_first), Activity()
    for x in batches([2, 2]):
        time_first(x)
        activity.update(tape)
    assert activity.compute()["layers"]["lif1"]["dead"] == pytest.approx(3 / 7)


def test_result_does_not_depend_on_how_batches_are_cut_or_shared(time_first):
    tape, x = Tape(time_first), torch.cat(batches([9]), 1)

    def measure(parts):
        activity = Activity(dt=0.001)
        for part in parts:
            time_first(part)
            activity.update(tape)
        return activity

    whole = measure([x]).compute()
    assert measure(x.split(2, 1)).compute() == whole
    first, second = measure([x[:, :2], x[:, 2:7]]), measure([x[:, 7:]])
    first.merge_state(second)
    assert first.compute() == whole


def test_steps_of_different_number_weigh_by_their_length(time_first):
    tape, activity, spikes = Tape(time_first, spikes=True), Activity(), []
    for steps in (3, 9):
        time_first(batches([4], shape=(steps, 5))[0])
        activity.update(tape)
        spikes.append(spikes_of(tape, "lif1").detach().flatten())
    expected = torch.cat(spikes).double().mean().item()
    assert activity.compute()["layers"]["lif1"]["rate"] == pytest.approx(expected)


def test_reset_starts_a_new_epoch(time_first):
    tape, activity = Tape(time_first), Activity()
    a, b = batches([4, 5])
    time_first(a)
    activity.update(tape)
    activity.compute()
    activity.reset()
    time_first(b)
    activity.update(tape)
    fresh = Activity()
    fresh.update(tape)
    assert activity.compute() == fresh.compute()
    assert not activity.state_dict()


def test_tape_keeps_spikes_with_gradient_only_when_asked(time_first):
    tape = Tape(time_first)
    time_first(batches([2])[0])
    assert tape["lif1"].spikes is None
    tape.keep_spikes = True
    time_first(batches([2])[0])
    (0.5 * spikes_of(tape, "lif1").square().mean()).backward()
    assert time_first.fc1.weight.grad.abs().sum() > 0
    tape.clear()
    assert len(tape) == 0


def test_tape_is_emptied_by_the_next_forward_and_removable(time_first):
    tape = Tape(time_first)
    time_first(batches([2])[0])
    time_first(batches([3])[0])
    assert list(tape) == ["lif1", "lif2"]
    assert len(tape["lif1"].counts) == 3
    tape.remove()
    time_first(batches([3])[0])
    assert len(tape) == 0
    assert not time_first._forward_pre_hooks
    assert not time_first.lif1._forward_hooks


def test_a_neuron_that_runs_twice_is_two_populations(time_first):
    class Siamese(nn.Module):
        def __init__(self, branch):
            super().__init__()
            self.lif = branch.lif1

        def forward(self, x):
            return self.lif(x).spikes + self.lif(2 * x).spikes

    net = Siamese(time_first)
    tape = Tape(net)
    net(torch.rand(4, 2, 7))
    assert list(tape) == ["lif", "lif#2"]
    assert tape["lif#2"].counts.sum() > tape["lif"].counts.sum()


def test_tape_survives_compilation_as_one_graph(time_first):
    x = batches([4])[0]
    tape, activity = Tape(time_first), Activity()
    time_first(x)
    eager = {name: firing.counts.clone() for name, firing in tape.items()}
    compiled = torch.compile(time_first, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        compiled(x)
        assert {n: f.steps for n, f in tape.items()} == {"lif1": 6, "lif2": 6}
        for name, counts in eager.items():
            assert torch.equal(tape[name].counts, counts)
    activity.update(tape)
    assert activity.compute()["samples"] == 4


def test_log_keys(time_first):
    tape, activity = Tape(time_first), Activity()
    time_first(batches([2])[0])
    activity.update(tape)
    figures = activity.compute()
    scalars = activity_scalars(figures, "val", {})
    assert set(scalars) == {
        "val/rate", "val/dead", "val/rate/lif1", "val/rate/lif2", "val/dead/lif1", "val/dead/lif2",
    }  # fmt: skip
    assert scalars["val/rate/lif2"] == figures["layers"]["lif2"]["rate"]
    assert scalars["val/dead"] == figures["total"]["dead"]


def test_a_part_weighs_its_layers_by_their_neurons():
    layers = {
        "bottom.neuron": {"rate": 0.5, "dead": 0.0, "neurons": 30},
        "encoder.0.neuron": {"rate": 0.1, "dead": 0.0, "neurons": 10},
        "decoder.0.neuron": {"rate": 0.3, "dead": 0.0, "neurons": 7},
    }
    activity = {"total": {"rate": 0.4, "dead": 0.0}, "layers": layers}
    parts = {"encoder": ("bottom", "encoder"), "decoder": ("decoder",), "none": ("encode",)}
    scalars = activity_scalars(activity, "test", parts)
    assert scalars["test/part_rate/encoder"] == pytest.approx((0.5 * 30 + 0.1 * 10) / 40)
    assert scalars["test/part_rate/decoder"] == 0.3
    assert "test/part_rate/none" not in scalars


def test_errors_name_the_cause(time_first):
    activity = Activity()
    with (
        pytest.raises(ValueError, match="before any batch"),
        pytest.warns(UserWarning, match="before the"),
    ):
        activity.compute()
    with pytest.raises(ValueError, match="no spiking layer ran"):
        activity.update(Tape(nn.Linear(2, 2)))
    tape = Tape(time_first)
    time_first(batches([2])[0])
    activity.update(tape)
    with pytest.raises(ValueError, match="layers changed"):
        activity.update({"lif1": tape["lif1"]})
    narrow = {n: f._replace(counts=f.counts[:, :1]) for n, f in tape.items()}
    with pytest.raises(ValueError, match="neurons of shape"):
        activity.update(narrow)
    with pytest.raises(ValueError, match="kept no spikes"):
        channel_raster(tape["lif1"], item=0)


def test_raster_shows_all_positions_of_one_channel(conv_over_time, time_first):
    tape = Tape(conv_over_time, spikes=True)
    spikes = conv_over_time(torch.randn(3, 2, 8, 5))
    rows, channel = channel_raster(tape["lif"], item=1)
    assert rows.shape == (5, 8)
    assert torch.equal(rows, spikes[1, channel].T)
    assert rows.sum() == spikes[1].sum((1, 2)).max()
    rows, channel = channel_raster(tape["lif"], item=2, channel=3)
    assert torch.equal(rows, spikes[2, 3].T)
    assert channel == 3

    tape = Tape(time_first, spikes=True)
    time_first(torch.randn(6, 2, 5))
    rows, channel = channel_raster(tape["lif1"], item=1)
    assert channel == -1
    assert torch.equal(rows, spikes_of(tape, "lif1")[:, 1].T)
