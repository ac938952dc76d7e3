"""The whole-step benchmark: its gate passes equal networks and stops at others."""

import pytest
import torch

from scripts import bench_steps
from scripts.bench_steps import OURS, PRODUCTS, Net, PeerNeuron, check, measure, stepper
from snnexp.data.base import TaskSpec
from snnexp.neurons.scan import ScanNeuron


def small():
    spec = TaskSpec(
        name="tiny",
        kind="classification",
        step_shape=(1, 8, 8),
        n_steps=None,
        dt=None,
        classes=("a", "b"),
    )
    return Net("plif_net_small", spec, 4)


def test_a_step_moves_the_weights(monkeypatch):
    built = {}

    def keep(net, provider, build=bench_steps.build):
        built["model"], loss = build(net, provider)
        return built["model"], loss

    monkeypatch.setattr(bench_steps, "build", keep)
    step = stepper(small(), OURS)
    before = {k: v.clone() for k, v in built["model"].state_dict().items()}
    step()
    moved = [k for k, v in built["model"].named_parameters() if not torch.equal(v, before[k])]
    assert moved


def test_our_network_alone_has_no_ratio(monkeypatch):
    monkeypatch.setattr(bench_steps, "find_spec", lambda name: None)
    monkeypatch.setitem(bench_steps.NETS, "tiny", small())
    row, products = measure("tiny", repeats=1, memory=True)
    assert (row.provider, row.ratio, row.t, row.n) == (OURS, None, 4, 4)
    assert min(products.ms, row.ms) > 0
    assert row.peak_bytes > 0
    assert (products.provider, products.peak_bytes, products.peer) == (PRODUCTS, None, None)


def test_the_gate_compares_every_layer_with_the_peer(monkeypatch):
    pytest.importorskip("spikingjelly.activation_based.neuron")
    assert check(small()) > 0

    class Deaf(PeerNeuron):
        def __init__(self, of):
            super().__init__(of)
            self.node.v_threshold = 100.0

    monkeypatch.setattr(bench_steps, "PeerNeuron", Deaf)
    with pytest.raises(SystemExit, match="spikes of neuron layer 0 differ"):
        check(small())


def test_the_peer_is_put_in_the_place_of_every_neuron():
    pytest.importorskip("spikingjelly.activation_based.neuron")
    model, _ = bench_steps.build(small(), bench_steps.PEER)
    kinds = {type(m) for m in model.modules()}
    assert PeerNeuron in kinds
    assert not any(issubclass(kind, ScanNeuron) for kind in kinds)
