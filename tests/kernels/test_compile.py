"""torch.compile sees one operator a layer, forward and backward."""

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from snnexp.neurons.lif import LIF
from snnexp.neurons.plif import PLIF
from snnexp.surrogates import ATan

OPTIONS = {
    "tau": 2.0,
    "decay_input": True,
    "v_th": 1.0,
    "v_reset": 0.0,
    "reset": "hard",
    "detach_reset": True,
    "surrogate": ATan(alpha=2.0),
    "backend": "auto",
}


class Net(nn.Module):
    """Two linear layers with neurons; with `steps` the first neurons see one step that often."""

    def __init__(self, steps=None):
        super().__init__()
        self.steps = [steps, None]
        self.linears = nn.ModuleList([nn.Linear(6, 5), nn.Linear(5, 4)])
        self.neurons = nn.ModuleList([LIF(5, **OPTIONS), PLIF(4, **OPTIONS)])

    def forward(self, x_TBN):
        layers = zip(self.linears, self.neurons, self.steps, strict=True)
        for linear, neuron, steps in layers:
            x_TBN = neuron(4 * linear(x_TBN), steps=steps).spikes
        return x_TBN.mean(0)


@pytest.mark.parametrize("steps", [None, 7])
def test_a_model_compiles_to_one_graph_with_one_operator_a_layer(steps):
    seen = []

    def counting(graph, _):
        names = [str(node.target) for node in graph.graph.nodes]
        seen.append({op: names.count(f"snnexp.{op}.default") for op in ("lif", "lif_backward")})
        return make_boxed_func(graph.forward)

    torch.manual_seed(0)
    net, x = Net(steps), torch.randn(1 if steps else 7, 2, 6)
    expected = net(x)
    expected.sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    backend = aot_autograd(fw_compiler=counting, bw_compiler=counting)
    got = torch.compile(net, fullgraph=True, backend=backend)(x)
    got.sum().backward()
    assert seen == [{"lif": 2, "lif_backward": 0}, {"lif": 0, "lif_backward": 2}]
    torch.testing.assert_close(got, expected)
    for p, gradient in zip(net.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient)
