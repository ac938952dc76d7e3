import itertools

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from snnexp.metrics.synops import Probe, SynOps, dense_operations, size_figures


def indicator_rerun(layer, x, dense=False):
    """NeuroBench's way: 0/1 indicators for input and weight, no bias, run the layer, add up."""
    x = torch.ones_like(x) if dense else (x != 0).to(x.dtype)
    weight = torch.ones_like(layer.weight) if dense else (layer.weight != 0).to(x.dtype)
    with torch.no_grad():
        if isinstance(layer, nn.Linear):
            return int(F.linear(x, weight).sum())
        return int(layer._conv_forward(x, weight, None).double().sum())


def measure(net, *inputs, samples=1):
    probe = Probe(net)
    synops = SynOps(probe)
    probe.recording = True
    for x in inputs:
        net(x)
        synops.update(samples)
    return synops.compute()


def sparse(*shape, share=0.4, graded=True):
    x = (torch.rand(shape) < share).float()
    return x * torch.randn(shape) if graded else x


CONVS = [
    (nn.Conv1d(4, 8, kernel_size=3), (11,)),
    (nn.Conv1d(4, 8, kernel_size=4, stride=3, padding=2, dilation=2), (17,)),
    (nn.Conv2d(4, 8, kernel_size=(4, 3), padding=(2, 1)), (9, 6)),
    (nn.Conv2d(4, 8, kernel_size=(4, 3), dilation=(4, 3), padding=(6, 3), bias=False), (14, 9)),
    (nn.Conv2d(4, 8, kernel_size=3, stride=2, padding=1), (8, 7)),
    (nn.Conv2d(4, 8, kernel_size=1, stride=2), (7, 7)),
    (nn.Conv2d(4, 8, kernel_size=3, padding=1, groups=4), (6, 6)),
    (nn.Conv2d(4, 8, kernel_size=3, padding=1, groups=2), (6, 6)),
    (nn.Conv2d(4, 8, kernel_size=(4, 2), padding="same", dilation=(1, 3)), (9, 8)),
    (nn.Conv2d(4, 8, kernel_size=3, padding="valid"), (6, 6)),
    (nn.Conv2d(4, 8, kernel_size=3, padding=2, padding_mode="circular"), (6, 5)),
    (nn.Conv2d(4, 8, kernel_size=3, padding=1, padding_mode="reflect", stride=2), (6, 5)),
    (nn.Conv3d(4, 8, kernel_size=(2, 3, 3), padding=(0, 1, 1), stride=(1, 2, 1)), (5, 6, 6)),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("layer", "space"), CONVS)
def test_convolutions_equal_the_indicator_rerun(layer, space):
    torch.manual_seed(3)
    layer.reset_parameters()
    layer.weight.data[torch.rand_like(layer.weight) < 0.3] = 0
    xs = [sparse(rows, 4, *space) for rows in (3, 2)]
    figures = measure(layer, *xs)
    assert figures["effective_macs"] * 2 == sum(indicator_rerun(layer, x) for x in xs)
    assert figures["effective_acs"] == 0
    assert figures["dense"] * 2 == sum(indicator_rerun(layer, x, dense=True) for x in xs)


@pytest.mark.parametrize("lead", [(), (4,), (5, 3)])
def test_linear_equals_the_indicator_rerun_for_any_leading_axes(lead):
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    layer.weight.data[torch.rand_like(layer.weight) < 0.5] = 0
    x = sparse(*lead, 6, graded=False)
    figures = measure(layer, x)
    assert figures["effective_acs"] == indicator_rerun(layer, x)
    assert figures["dense"] == indicator_rerun(layer, x, dense=True)


def test_unbatched_convolution():
    layer, x = nn.Conv1d(2, 3, 3, padding=1), sparse(2, 7)
    assert measure(layer, x)["effective_macs"] == indicator_rerun(layer, x[None])


def test_hand_counted_linear():
    # two inputs fire; the first has 2 live weights, the third 1: 3 ACs of 6 dense
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[1.0, 1.0, 0.0], [2.0, 0.0, 5.0]])
    figures = measure(layer, torch.tensor([[1.0, 0.0, -1.0]]))
    assert (figures["effective_acs"], figures["dense"]) == (3, 6)
    assert figures["layers"]["Linear"]["input_sparsity"] == pytest.approx(1 / 3)
    assert figures["energy_nj"] == pytest.approx(3 * 0.9e-3)


def test_hand_counted_convolution():
    # kernel 3, padding 1, length 4: a corner input reaches 2 outputs, an inner one 3;
    # dense: 2 + 3 + 3 + 2 of each of 2 output channels
    layer = nn.Conv1d(1, 2, 3, padding=1, bias=False)
    figures = measure(layer, torch.tensor([[[0.5, 0.0, 0.5, 0.0]]]))
    assert figures["effective_macs"] == 2 * (2 + 3)
    assert figures["dense"] == 2 * 10
    assert figures["energy_nj"] == pytest.approx(10 * 4.6e-3)


def test_one_graded_value_makes_a_layer_a_mac_layer_for_the_epoch():
    layer = nn.Linear(4, 4)
    binary = torch.tensor([[0.0, 1.0, -1.0, 1.0]])
    assert measure(layer, binary)["layers"]["Linear"]["kind"] == "ac"
    figures = measure(layer, binary, binary + 0.5 * (binary == 0))
    assert figures["layers"]["Linear"]["kind"] == "mac"
    assert figures["effective_acs"] == 0


def test_counts_stay_exact_beyond_float32():
    layer = nn.Linear(4097, 4097, bias=False)
    x = torch.ones(3, 4097)
    x[0, 0] = 0
    assert measure(layer, x)["effective_acs"] == (3 * 4097 - 1) * 4097  # 2 ** 24 < 50,356,227


def test_samples_come_from_the_caller_where_time_is_folded_into_the_batch(conv_over_time):
    layer, folded = nn.Linear(3, 2), torch.ones(10 * 4, 3)  # 10 steps of 4 samples
    assert measure(layer, folded, samples=4)["effective_acs"] == 10 * 3 * 2


def test_network_figures(time_first):
    torch.manual_seed(1)
    x = torch.randn(6, 4, 5)
    seen = {}
    for name in ("fc1", "fc2"):
        layer = getattr(time_first, name)
        layer.register_forward_hook(lambda m, a, o, name=name: seen.update({name: a[0]}))
    figures = measure(time_first, x, samples=4)
    fc1, fc2 = (figures["layers"][name] for name in ("fc1", "fc2"))
    assert fc1["kind"] == "mac"
    assert fc2["kind"] == "ac"
    assert figures["effective_macs"] * 4 == indicator_rerun(time_first.fc1, seen["fc1"])
    assert figures["effective_acs"] * 4 == indicator_rerun(time_first.fc2, seen["fc2"])
    assert figures["dense"] == 6 * (5 * 7 + 7 * 3)
    assert figures["membrane_updates"] == 6 * (7 + 3)
    assert figures["energy_nj"] == pytest.approx(
        (4.6 * figures["effective_macs"] + 0.9 * figures["effective_acs"]) / 1000
    )
    assert fc1["energy_nj"] + fc2["energy_nj"] == pytest.approx(figures["energy_nj"])
    assert "4.6 pJ" in figures["energy_formula"]
    assert figures["uncounted"] == []
    # every spike of lif1 is an input of fc2; those of lif2 come on top
    spikes_in = (1 - fc2["input_sparsity"]) * 6 * 7
    out = time_first(x).sum().item() * 6 / 4
    active = (spikes_in + out) / (6 * 10)
    assert figures["activation_sparsity"] == pytest.approx(1 - active)


def test_a_static_input_is_weighted_once_and_updates_membranes_at_each_step(shown):
    x = torch.randn(3, 4)
    figures = measure(shown, x, samples=3)
    assert figures["layers"]["fc"]["dense"] == 4 * 6
    assert figures["membrane_updates"] == 5 * 6
    assert figures["activation_sparsity"] == pytest.approx(1 - shown(x).mean().item())


def test_lateral_reset_counts_each_spike_once_for_each_neuron_it_reaches(conv_over_time):
    conv_over_time.lif.lateral = True
    x = torch.randn(3, 2, 8, 5)
    spikes = conv_over_time(x).sum().item()
    lateral = measure(conv_over_time, x, samples=3)["layers"]["lif.lateral"]
    assert lateral["effective"] == pytest.approx(4 * spikes / 3)
    assert lateral["dense"] == 4 * 4 * 8 * 5
    assert lateral["kind"] == "ac"


def test_what_is_not_counted_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)
            self.up = nn.ConvTranspose1d(1, 1, 2)

        def forward(self, x):
            return self.up(self.used(x)[:, None])

    figures = measure(Odd(), torch.ones(2, 3))
    assert figures["uncounted"] == ["up", "idle"]
    assert list(figures["layers"]) == ["used"]


def test_a_spiking_network_without_linear_or_convolution(time_first):
    figures = measure(time_first.lif1, torch.ones(4, 2, 7), samples=2)
    assert figures["layers"] == {}
    assert figures["membrane_updates"] == 4 * 7
    assert figures["energy_nj"] == 0


def test_result_does_not_depend_on_who_saw_what():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(15, 4))
    probe = Probe(net)
    probe.recording = True
    graded = sparse(5, 2, 7)
    xs = [graded[:2], graded[2:], torch.ones(1, 2, 7)]

    def run(parts):
        synops = SynOps(probe)
        for x in parts:
            net(x)
            synops.update(len(x))
        return synops

    whole, first, second = run(xs), run(xs[2:]), run(xs[:2])
    first.merge_state(second)
    assert first.compute() == whole.compute()
    assert run([torch.cat(xs)]).compute() == whole.compute()


def test_probe_is_silent_unless_recording_and_removable():
    net = nn.Linear(3, 3)
    probe = Probe(net)
    synops = SynOps(probe)
    net(torch.ones(1, 3))
    with (
        pytest.raises(ValueError, match="before any sample"),
        pytest.warns(UserWarning, match="before the"),
    ):
        synops.compute()
    with pytest.raises(RuntimeError, match="recording = True"):
        synops.update(1)
    probe.recording = True
    net(torch.ones(1, 3))
    synops.update(1)
    probe.remove()
    assert not net._forward_hooks


def test_states_made_in_inference_mode_can_be_used_outside():
    net = nn.Linear(3, 3)
    probe = Probe(net)
    probe.recording = True
    synops = SynOps(probe)
    with torch.inference_mode():
        synops.reset()
        net(torch.ones(1, 3))
        synops.update(1)
    net(torch.ones(1, 3))
    synops.update(1)
    assert synops.compute()["effective_acs"] == 9


def test_probe_survives_compilation_as_one_graph():
    net, x = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(15, 4)), sparse(5, 2, 7)
    eager = measure(net, x)
    probe = Probe(net)
    probe.recording = True
    synops = SynOps(probe)
    torch.compile(net, fullgraph=True, backend="aot_eager")(x)
    synops.update(1)
    assert synops.compute() == eager


def test_dense_pairs_by_enumeration():
    layer = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(2, 1))
    inside = 0
    for o in itertools.product(range(((7 + 2 - 4 - 1) // 2) + 1), range(4)):
        for k in itertools.product(range(3), range(2)):
            at = (o[0] * 2 + k[0] * 2 - 1, o[1] + k[1])
            inside += 0 <= at[0] < 7 and 0 <= at[1] < 5
    assert dense_operations(layer, (7, 5), rows=4) == 4 * 2 * 3 * inside


def test_size_figures():
    first = nn.Linear(4, 3)
    first.weight.data[0] = 0
    first.bias.requires_grad_(False)
    net = nn.Sequential(first, nn.BatchNorm1d(3))
    assert size_figures(net) == {
        "parameters": 12 + 3 + 6,
        "trainable_parameters": 12 + 6,
        "footprint_bytes": 21 * 4 + 6 * 4 + 8,
        "connection_sparsity": pytest.approx(4 / 12),
    }
    assert size_figures(nn.ReLU())["connection_sparsity"] == 0
