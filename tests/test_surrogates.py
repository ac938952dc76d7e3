"""Surrogates are contracts: the step forward, the derivative of the primitive backward."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from snnexp.surrogates import (
    SURROGATES,
    ATan,
    Erf,
    FastSigmoid,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Surrogate,
    Triangle,
    from_params,
)

CONFIGS = sorted((Path(__file__).parents[1] / "configs/surrogate").glob("*.yaml"))
ALL: list[Surrogate] = [
    ATan(alpha=2.0),
    Sigmoid(alpha=10.0, scaled=True),
    Sigmoid(alpha=10.0, scaled=False),
    FastSigmoid(alpha=5.0),
    Triangle(alpha=0.7, peak=0.3),
    Rectangle(alpha=1.3),
    Erf(alpha=2.0),
    MultiGaussian(gamma=0.5, sigma=0.5, spread=6.0, height=0.15),
]
every = pytest.mark.parametrize("surrogate", ALL, ids=lambda s: f"{s.name}{s.params}")


def grid() -> torch.Tensor:
    """Points off the kinks of the piecewise surrogates."""
    return torch.linspace(-2.9, 2.9, 1999, dtype=torch.float64) + 1e-4


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_forward_is_exactly_the_step(surrogate: Surrogate, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    x = torch.tensor([-math.inf, -1.0, -tiny, -0.0, 0.0, tiny, 1.0, math.inf], dtype=dtype)
    s = surrogate(x)
    assert s.dtype == dtype
    assert s.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


@every
def test_derivative_is_the_finite_difference_of_the_primitive(surrogate: Surrogate) -> None:
    x, eps = grid(), 1e-6
    difference = (surrogate.primitive(x + eps) - surrogate.primitive(x - eps)) / (2 * eps)
    torch.testing.assert_close(surrogate.derivative(x), difference, rtol=1e-6, atol=1e-8)


@every
def test_backward_is_the_derivative(surrogate: Surrogate) -> None:
    x = grid().requires_grad_()
    cotangent = torch.randn_like(x)
    (grad,) = torch.autograd.grad(surrogate(x), x, cotangent)
    torch.testing.assert_close(grad, cotangent * surrogate.derivative(x.detach()))


@every
def test_primitive_passes_gradcheck(surrogate: Surrogate) -> None:
    x = grid()[::97].clone().requires_grad_()
    assert torch.autograd.gradcheck(surrogate.primitive, (x,))


@every
def test_name_and_params_rebuild_it(surrogate: Surrogate) -> None:
    assert from_params(surrogate.name, surrogate.params) == surrogate


def test_peaks() -> None:
    peaks = [float(s.derivative(torch.zeros((), dtype=torch.float64))) for s in ALL]
    expected = [1.0, 2.5, 0.25, 1.0, 0.3, 1.3, 2 / math.sqrt(math.pi), 0.4391]
    assert peaks == pytest.approx(expected, abs=5e-5)


def test_multi_gaussian_has_the_papers_values() -> None:
    x = torch.tensor([0, 0.5, 1, 1.5, 2, 3], dtype=torch.float64)
    expected = [0.4391, 0.2589, 0.0435, -0.0123, -0.0157, -0.0121]
    assert ALL[-1].derivative(x).tolist() == pytest.approx(expected, abs=5e-5)
    far = torch.tensor([-100.0, 100.0], dtype=torch.float64)
    low, high = ALL[-1].primitive(far).tolist()
    assert (high - low) / 0.5 == pytest.approx(0.85)


def test_every_surrogate_is_tested_and_has_a_config() -> None:
    assert {s.name for s in ALL} == set(SURROGATES)
    assert set(SURROGATES) <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds(path: Path) -> None:
    surrogate = instantiate(OmegaConf.load(path))
    assert path.stem.startswith(surrogate.name)
    assert surrogate(torch.tensor([-1.0, 1.0])).tolist() == [0, 1]


def test_unknown_name_and_wrong_params_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown surrogate 'arctan'; there are atan"):
        from_params("arctan", (2.0,))
    with pytest.raises(ValueError, match=r"sigmoid has 2 params \(alpha, scaled\), got 1"):
        from_params("sigmoid", (2.0,))
    with pytest.raises(ValueError, match=r"alpha=0\.0, expected a finite number above 0"):
        ATan(alpha=0.0)
    with pytest.raises(TypeError):
        ATan()  # type: ignore[call-arg]
