"""The LIF scan with lateral reset as a plain torch loop: the specification of this scan.

Letters: T time, C channel, and the memory axes O, I, A, L of `snnexp.kernels.layout`.

As in `snnexp.kernels.lif.reference`, but a spike resets all channels at its own place, through a
matrix D over channels. With v[-1] = v0 (default 0), for t = 0 .. T-1:

    (1) charge   h[t] = decay v[t-1] + gain x[t]
    (2) fire     s[t] = H(h[t] - v_th)
    (3) reset    v_k[t] = h_k[t] - sum_j D_kj s_j[t]

s2net (Pellegrini et al. 2021) has D_kj = <w_k, w_j> / (||w_k||^2 + 1e-8): a neuron's own spike
takes 1 off its normalised membrane, not v_th, and the spikes of similar filters a part of that.
With D = diag(v_th) this is the soft reset of the LIF scan. With `detach_reset` the s[t] in (3)
carries no gradient; D always does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.kernels.layout import Layout
from snnexp.surrogates import Surrogate


def lateral(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    reset_CC: Tensor,
    *,
    detach_reset: bool,
    surrogate: Surrogate,
    time_dim: int,
    channel_dim: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run equations (1) to (3) over the time axis of a dense x; return (spikes, v, count).

    `spikes` has shape, dtype and memory layout of x. `v`, the membrane after the last step, and
    `count`, the spikes of each neuron over all steps (float32, no gradient), lack the time axis.
    decay, gain and v_th have the dtype of the state and are 0-d or one value a channel.
    """
    layout = Layout.of(x, time_dim, channel_dim)
    x_OTI, state = layout.to_scan(x), decay.dtype
    step_ACL = (layout.above, layout.channels, layout.below)
    decay, gain, v_th = (p if p.ndim == 0 else p[:, None] for p in (decay, gain, v_th))

    v = torch.zeros(step_ACL, dtype=state, device=x.device)
    if v0 is not None:
        v = layout.to_step(v0.to(state))
    count = torch.zeros(step_ACL, dtype=torch.float32, device=x.device)
    spikes = []
    for x_OI in x_OTI.unbind(1):
        h = decay * v + gain * x_OI.reshape(step_ACL).to(state)
        s = surrogate(h - v_th)
        v = h - reset_CC @ (s.detach() if detach_reset else s)
        count += s.detach()
        spikes.append(s.to(x.dtype).view(x_OI.shape))

    spikes_OTI = torch.stack(spikes, 1) if spikes else torch.empty_like(x_OTI)
    return layout.from_scan(spikes_OTI), layout.from_step(v), layout.from_step(count)
