"""The normalised neuron of s2net: learned leak, learned thresholds, optional lateral reset.

Letters: C channel, J the flattened fan-in of a filter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnexp.kernels import lateral as lateral_reset
from snnexp.kernels.backend import Backend, Provider, resolve
from snnexp.kernels.layout import repeat_step
from snnexp.kernels.lif import lif
from snnexp.neurons.base import Neuron, NeuronOutput
from snnexp.surrogates import Surrogate

#: s2net's constant that keeps an all-zero filter from dividing by zero
EPS = 1e-8


class S2LIF(Neuron):
    """LIF in units of its filter's squared norm (Pellegrini et al. 2021; s2net).

    s2net writes, for filter k with weights w_k, n_k = ||w_k||^2, a leak beta of the layer and a
    threshold b_k of the channel, all learned,

        u_k[t] = beta (u_k[t-1] - R_k[t-1]) + (1 - beta) I_k[t],  s_k[t] = H(u_k[t]/(n_k+eps) - b_k)
        R_k = s_k b_k n_k (not lateral),   R_k = sum_j s_j <w_k, w_j> (lateral).

    In v = u/(n + eps) this is the house's scan with `decay` = beta, `v_th` = b and a soft reset:

        gain = (1 - decay) / (||w||^2 + eps)     (leaky)
        gain =           1 / (||w||^2 + eps)     (not leaky)

    Only without `lateral` does an x of one step stay one in memory (`steps` of `forward`).

    `weight` of `forward` is the weight of the layer that made x, [C, ...]. Gradients flow into it
    through gain (and, lateral, through W W^T), into decay and v_th, and through the reset unless
    `detach_reset`.

    Not `leaky` is the false branch of the flag Leaky_Neuron in the encrypted-traffic code (Rasteh
    et al. 2022): u = beta (u - R) + I. It drops the factor (1 - beta) and nothing else: beta still
    multiplies the membrane and is still learned. What the speech paper calls non-leaky is unknown.

    Differs from s2net: fires at v >= v_th instead of v > v_th; the reset n/(n + eps) b is b.
    `constrain` is to be called after every optimizer step. Initial values are drawn from
    N(mean, std^2); std 0 sets a constant.
    """

    def __init__(
        self,
        channels: int,
        time_dim: int = 0,
        channel_dim: int = 2,
        *,
        leaky: bool,
        lateral: bool,
        decay_mean: float,
        decay_std: float,
        v_th_mean: float,
        v_th_std: float,
        detach_reset: bool,
        surrogate: Surrogate,
        backend: Backend,
    ) -> None:
        super().__init__(channels, time_dim, channel_dim)
        self.leaky, self.lateral, self.detach_reset = leaky, lateral, detach_reset
        self.surrogate, self.backend = surrogate, backend
        self.decay = nn.Parameter(torch.normal(decay_mean, decay_std, ()))
        self.v_th = nn.Parameter(torch.normal(v_th_mean, v_th_std, (channels,)))
        self.constrain()

    def initial_weight_std(self, normalised_std: float) -> float:
        """Return `normalised_std`: the paper's initial value is meant for this neuron."""
        return normalised_std

    @torch.no_grad()
    def constrain(self) -> None:
        """Clamp decay to [0, 1] and v_th to [0, inf), as s2net does after every update."""
        self.decay.clamp_(0, 1)
        self.v_th.clamp_(min=0)

    def provider(self, device: torch.device) -> Provider:
        """Return the provider of the scan, which is another one for lateral reset."""
        choose = lateral_reset.provider if self.lateral else resolve
        return choose(self.backend, device)

    def forward(
        self,
        x: Tensor,
        v0: Tensor | None = None,
        weight: Tensor | None = None,
        steps: int | None = None,
    ) -> NeuronOutput:
        """Run the neurons over all steps of x; v and v0 are in normalised units."""
        if weight is None or weight.shape[0] != self.channels:
            raise ValueError(
                f"S2LIF({self.channels}) is normalised by the weight of the layer that made its "
                f"input: call it with weight=layer.weight of shape [{self.channels}, ...], got "
                f"{None if weight is None else list(weight.shape)}"
            )
        filters_CJ = weight.flatten(1).to(self.v_th.dtype)
        norm_C = filters_CJ.square().sum(1) + EPS
        gain_C = ((1 - self.decay) if self.leaky else 1) / norm_C
        if self.lateral:
            # Autocast would round the products to bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                reset_CC = filters_CJ @ filters_CJ.T / norm_C[:, None]
            out = lateral_reset.lateral(
                x if steps is None else repeat_step(x, self.time_dim, steps),
                v0,
                self.decay,
                gain_C,
                self.v_th,
                reset_CC,
                detach_reset=self.detach_reset,
                surrogate=self.surrogate,
                time_dim=self.time_dim,
                channel_dim=self.channel_dim,
                backend=self.backend,
            )
        else:
            out = lif(
                x,
                v0,
                self.decay,
                gain_C,
                self.v_th,
                v_reset=0.0,
                reset="soft",
                detach_reset=self.detach_reset,
                surrogate=self.surrogate,
                time_dim=self.time_dim,
                channel_dim=self.channel_dim,
                backend=self.backend,
                steps=steps,
            )
        return NeuronOutput(*out)

    def extra_repr(self) -> str:
        """Show the size, the axes and the variant."""
        return (
            f"{self.channels}, time_dim={self.time_dim}, channel_dim={self.channel_dim}, "
            f"leaky={self.leaky}, lateral={self.lateral}, surrogate={self.surrogate}, "
            f"backend={self.backend}"
        )
