"""Models built from their yaml, and what all of them are held to."""

from functools import cache

import torch
import torch.nn as nn
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from snnexp.config.compose import compose_config
from snnexp.data.base import TaskSpec


def images(channels, height, width, classes=10):
    return TaskSpec(
        name="pictures",
        kind="classification",
        step_shape=(channels, height, width),
        n_steps=None,
        dt=None,
        classes=tuple(map(str, range(classes))),
    )


def frames(steps, height, width, classes=10):
    return TaskSpec(
        name="frames",
        kind="classification",
        step_shape=(2, height, width),
        n_steps=steps,
        dt=None,
        classes=tuple(map(str, range(classes))),
    )


def depth(channels, height, width, steps=None):
    return TaskSpec(
        name="depth", kind="depth", step_shape=(channels, height, width), n_steps=steps, dt=0.05
    )


@cache
def _config(model, overrides):
    # a task without recipes for these models, so that their own yaml speaks
    cfg = compose_config(["task=traffic", f"model={model}", "backend=auto", *overrides])
    return OmegaConf.create(OmegaConf.to_container(cfg.model, resolve=True))


def build(model, spec, *overrides):
    torch.manual_seed(0)
    try:
        return instantiate(_config(model, overrides), spec, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ from None


def count(model, spec, *overrides):
    with torch.device("meta"):
        return sum(p.numel() for p in build(model, spec, *overrides).parameters())


def events(*shape, rate=0.3, seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full(shape, rate), generator=g)


def outputs(prediction):
    return prediction if isinstance(prediction, tuple) else (prediction,)


def check_gradients(model, x):
    """Every parameter gets a gradient that is finite and not all zero.

    Weights are enlarged: in networks as small as a test's, deep layers are silent at the start.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data *= 4
    torch.manual_seed(0)
    out = outputs(model.train()(x).prediction)
    weights = [torch.randn_like(o) for o in out]
    sum((o * w).sum() for o, w in zip(out, weights, strict=True)).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, f"{name} gets no gradient"
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, f"{name} gets a zero gradient"


def check_no_state(model, x, other):
    """A call does not depend on the calls before it, and leaves nothing in a checkpoint."""
    model.eval()
    keys = set(model.state_dict())
    with torch.no_grad():
        first = outputs(model(x).prediction)
        model(other)
        again = outputs(model(x).prediction)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert set(model.state_dict()) == keys


def check_samples_independent(model, x, batch_dim):
    """In evaluation a sample's prediction does not depend on the rest of its batch."""
    model.eval()
    with torch.no_grad():
        together = outputs(model(x).prediction)
        alone = outputs(model(x.narrow(batch_dim, 1, 1)).prediction)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-4, atol=1e-5)


def check_compiles(model, x):
    """torch.compile finds one graph, forward and backward, that computes the same."""
    torch._dynamo.reset()
    model.train()
    torch.manual_seed(3)
    expected = outputs(model(x).prediction)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.manual_seed(3)
    got = outputs(compiled(x).prediction)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)
    sum(o.sum() for o in got).backward()
