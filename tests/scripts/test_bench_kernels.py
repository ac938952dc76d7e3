"""The kernels' benchmark: its gate finds what is wrong, its figures are what they say."""

import time

import pytest
import torch

from scripts import bench_gate, bench_kernels, bench_layers, bench_timing
from scripts.bench_peers import Peer
from snnexp.neurons.lif import LIF


def plain(x):
    return bench_layers.layer("reference")(x)


def test_inputs_of_the_gate_never_meet_the_threshold():
    x = bench_gate.exact_input(16, 1, 500)
    membrane = torch.zeros(1, 500, dtype=torch.float64)
    for step in x.double():
        membrane = 0.5 * membrane + 0.5 * step
        assert not (membrane == 1).any()
        assert torch.equal(membrane.float().double(), membrane)
        membrane = membrane * (membrane < 1)


def test_a_peer_that_fires_too_often_ends_the_run():
    good = Peer("torch", 1.0, lambda: plain)
    bad = Peer("torch", 1.0, lambda: lambda x: plain(x + 1 / 64))
    assert bench_gate.check((), {"good": good})[0].startswith("good: ")
    with pytest.raises(SystemExit, match="bad differs from the reference in"):
        bench_gate.check((), {"good": good, "bad": bad})


def test_a_provider_with_wrong_gradients_ends_the_run(monkeypatch):
    true = bench_gate.lif

    def scaled(x, *args, backend, **options):
        x = x if backend == "reference" else x * 1.0 + (x - x.detach()) * 0.01
        return true(x, *args, backend="reference", **options)

    monkeypatch.setattr(bench_gate, "lif", scaled)
    with pytest.raises(SystemExit, match=r"backend=cpu.*gradients differ"):
        bench_gate.check(("cpu",), {})


def test_the_reference_passes_its_own_gate():
    assert "24 settings" in bench_gate.check(("reference",), {})[0]


def test_bytes_saved_and_peak_are_those_of_the_tensors():
    x = torch.rand(1000, requires_grad=True)
    assert bench_timing.saved_bytes(lambda: x.exp()) == 4000
    assert bench_timing.saved_bytes(lambda: x * 2) == 0
    made = bench_timing.peak_bytes(lambda: x.detach().clone().clone(), 4000)
    assert made == 4000 + 8000


def test_medians_take_turns():
    seen = []
    programs = {name: lambda n=name: seen.append(n) for name in "ab"}
    ms = bench_timing.medians(programs, seconds=0)
    assert seen == ["a", "b"] * (bench_timing.LEAST + 2)
    assert ms.keys() == {"a", "b"}


def test_a_turn_is_as_many_calls_as_fill_it():
    seen = []

    def short():
        seen.append("short")
        time.sleep(0.001)

    def long():
        seen.append("long")
        time.sleep(0.01)

    ms = bench_timing.medians({"short": short, "long": long}, seconds=0, least=3, turn=0.01)
    assert seen.count("long") == 5
    assert seen.count("short") > 15
    assert ms["short"] < ms["long"]
    assert ms["long"] == pytest.approx(10, rel=0.5)


def test_the_benchmarked_layer_is_the_lif_of_the_peers():
    from tests.neurons.building import SCAN

    x = bench_gate.exact_input(16, 1, 50)
    assert torch.equal(plain(x), LIF(50, **SCAN, tau=2.0, decay_input=True)(x).spikes)


def test_a_row_says_what_it_is_related_to():
    bench = bench_kernels.Bench(bench_kernels.Console(quiet=True), seconds=0, kept=False)
    programs = {"cpu": lambda: None, "reference": lambda: sum(range(20_000))}
    bench.group("lif inference", 7, programs)
    ours, loop = bench.rows
    assert (ours.provider, ours.ratio_to, loop.ratio_to) == ("cpu", "reference", "cpu")
    assert ours.ratio == pytest.approx(loop.ms / ours.ms)
    assert loop.ratio == pytest.approx(ours.ms / loop.ms)
