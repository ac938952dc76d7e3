"""Surrogate gradients: the step in the forward pass, a smooth pseudo-derivative in the backward.

Every surrogate is the same contract. With x = h - v_th, in units of the membrane,

    forward:   s = H(x), 1 where x >= 0, else 0
    backward:  ds/dx := g'(x), the derivative of the documented primitive g

A surrogate is known to the kernels by its `name` and `params`, a few floats; each kernel provider
has a twin of `derivative`, held equal to it by a test. The scale of g' matters more than its shape
(Zenke & Vogels 2021, abstract), so each section states the peak g'(0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

import torch
from torch import Tensor


class _Step(torch.autograd.Function):
    """H(x) forward, g'(x) backward."""

    @staticmethod
    def forward(x: Tensor, surrogate: Surrogate) -> Tensor:
        return (x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:
        x, ctx.surrogate = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A step with a smooth pseudo-derivative: `surrogate(h - v_th)` gives the spikes."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in self._positive and not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"surrogate {self.name}: {field.name}={value!r}, expected a finite number "
                    f"above 0; change model.neuron.surrogate.{field.name}"
                )

        floats = tuple(float(getattr(self, field.name)) for field in fields(self))
        object.__setattr__(self, "_floats", floats)

    #: `params` of an instance, computed once, for every call of a layer asks; no field
    _floats: ClassVar[tuple[float, ...]]
    #: fields that must be finite and above 0
    _positive: ClassVar[frozenset[str]] = frozenset({"alpha"})

    @property
    def params(self) -> tuple[float, ...]:
        """The fields in order, as floats: what the kernels receive beside `name`."""
        return self._floats

    def primitive(self, x: Tensor) -> Tensor:
        """Return the smooth function g(x) whose derivative is used, up to a constant."""
        raise NotImplementedError

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        """Return H(x) in the dtype of x; the gradient is g'(x)."""
        return cast(Tensor, _Step.apply(x, self))


@dataclass(frozen=True, kw_only=True)
class ATan(Surrogate):
    """Arc tangent, the default of the PLIF, SEW ResNet and StereoSpike papers at alpha = 2.

    g(x) = atan(pi/2 alpha x) / pi + 1/2,  g'(x) = (alpha/2) / (1 + (pi/2 alpha x)^2), peak alpha/2.
    """

    name: ClassVar[str] = "atan"
    alpha: float

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        return torch.atan(math.pi / 2 * self.alpha * x) / math.pi + 0.5

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * x) ** 2)


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Surrogate):
    """Logistic function sigma(alpha x), with or without the chain rule's factor alpha.

    scaled:      g(x) = sigma(alpha x),         g'(x) = alpha sigma(alpha x) sigma(-alpha x),
                 peak alpha/4: the encrypted-traffic code (Rasteh et al. 2022), alpha 10, peak 2.5.
    not scaled:  g(x) = sigma(alpha x) / alpha, g'(x) = sigma(alpha x) sigma(-alpha x), peak 1/4:
                 s2net (Pellegrini et al. 2021; Soltani Zarrin et al. 2020), alpha = 10.

    At alpha = 10 the two differ by a factor of ten in every gradient through a spike.
    """

    name: ClassVar[str] = "sigmoid"
    alpha: float
    scaled: bool

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        g = torch.sigmoid(self.alpha * x)
        return g if self.scaled else g / self.alpha

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        slope = torch.sigmoid(self.alpha * x) * torch.sigmoid(-self.alpha * x)
        return self.alpha * slope if self.scaled else slope


@dataclass(frozen=True, kw_only=True)
class FastSigmoid(Surrogate):
    """Fast sigmoid, SuperSpike's pseudo-derivative (Zenke & Vogels 2021).

    g(x) = x / (1 + alpha |x|),  g'(x) = 1 / (1 + alpha |x|)^2, peak 1 for every alpha.
    """

    name: ClassVar[str] = "fast_sigmoid"
    alpha: float

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        return x / (1 + self.alpha * x.abs())

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        return 1 / (1 + self.alpha * x.abs()) ** 2


@dataclass(frozen=True, kw_only=True)
class Triangle(Surrogate):
    """Piecewise linear pseudo-derivative with compact support |x| < 1/alpha.

    g'(x) = peak max(0, 1 - alpha |x|),  g(x) = peak (x - alpha x |x| / 2) inside the support and
    constant outside. Zenke & Vogels 2021 use peak 1; Kim & Panda 2021 (BNTT) peak 0.3, alpha 1.
    """

    name: ClassVar[str] = "triangle"
    alpha: float
    peak: float
    _positive: ClassVar[frozenset[str]] = frozenset({"alpha", "peak"})

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        inside = x.clamp(-1 / self.alpha, 1 / self.alpha)
        return self.peak * (inside - self.alpha * inside * inside.abs() / 2)

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        return self.peak * (1 - self.alpha * x.abs()).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class Rectangle(Surrogate):
    """Box of unit area around the threshold.

    g'(x) = alpha where |x| < 1/(2 alpha), else 0, peak alpha;  g(x) = clamp(alpha x, -1/2, 1/2).
    """

    name: ClassVar[str] = "rectangle"
    alpha: float

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        return (self.alpha * x).clamp(-0.5, 0.5)

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        return self.alpha * (x.abs() < 1 / (2 * self.alpha)).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Erf(Surrogate):
    """Gaussian pseudo-derivative of unit area and standard deviation 1/(sqrt(2) alpha).

    g(x) = (1 + erf(alpha x)) / 2,  g'(x) = alpha/sqrt(pi) exp(-(alpha x)^2), peak alpha/sqrt(pi).
    """

    name: ClassVar[str] = "erf"
    alpha: float

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        return (1 + torch.erf(self.alpha * x)) / 2

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""
        return (self.alpha / math.sqrt(math.pi)) * torch.exp(-((self.alpha * x) ** 2))


@dataclass(frozen=True, kw_only=True)
class MultiGaussian(Surrogate):
    """Gaussian with negative side lobes (Yin, Corradi & Bohté 2021, code of the paper).

    With N(x; m, q^2) the normal density, sigma, `spread` s and lobe `height` h,

        g'(x) = gamma [(1+h) N(x; 0, sigma^2) - h N(x; sigma, (s sigma)^2)
                                              - h N(x; -sigma, (s sigma)^2)]

    and g the same sum of normal distribution functions. The paper's gamma 0.5, sigma 0.5, s 6,
    h 0.15 give peak 0.4391; the integral of g' is gamma (1 - h).
    """

    name: ClassVar[str] = "multi_gaussian"
    gamma: float
    sigma: float
    spread: float
    height: float
    _positive: ClassVar[frozenset[str]] = frozenset({"gamma", "sigma", "spread"})

    def primitive(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        cdf, wide = torch.special.ndtr, self.spread * self.sigma
        lobes = cdf((x - self.sigma) / wide) + cdf((x + self.sigma) / wide)
        return self.gamma * ((1 + self.height) * cdf(x / self.sigma) - self.height * lobes)

    def derivative(self, x: Tensor) -> Tensor:
        """Return g'(x)."""

        def density(z: Tensor, std: float) -> Tensor:
            return torch.exp(-0.5 * (z / std) ** 2) / (std * math.sqrt(2 * math.pi))

        wide = self.spread * self.sigma
        lobes = density(x - self.sigma, wide) + density(x + self.sigma, wide)
        return self.gamma * ((1 + self.height) * density(x, self.sigma) - self.height * lobes)


#: every surrogate by the name the kernels know it by
SURROGATES: dict[str, type[Surrogate]] = {
    cls.name: cls for cls in (ATan, Sigmoid, FastSigmoid, Triangle, Rectangle, Erf, MultiGaussian)
}


def from_params(name: str, params: Sequence[float]) -> Surrogate:
    """Rebuild a surrogate from its `name` and `params`, as a kernel receives them."""
    if name not in SURROGATES:
        raise ValueError(f"unknown surrogate {name!r}; there are {', '.join(sorted(SURROGATES))}")
    cls = SURROGATES[name]
    if len(params) != len(fields(cls)):
        raise ValueError(
            f"surrogate {name} has {len(fields(cls))} params "
            f"({', '.join(field.name for field in fields(cls))}), got {len(params)}"
        )
    typed = {
        field.name: bool(value) if field.type == "bool" else float(value)
        for field, value in zip(fields(cls), params, strict=True)
    }
    return cls(**typed)
