"""The LIF scan as a plain torch loop: the specification all providers are held to.

Letters: T time, C channel, and the memory axes O, I, A, L of `snnexp.kernels.layout`.

One scan serves IF, LIF, PLIF and the normalised neuron of Pellegrini et al. 2021. With v[-1] = v0
(default `v_reset`), for t = 0 .. T-1:

    (1) charge   h[t] = v_reset + decay (v[t-1] - v_reset) + gain x[t]
    (2) fire     s[t] = H(h[t] - v_th),  1 where h[t] >= v_th, else 0
    (3) reset    hard  v[t] = h[t] (1 - s[t]) + v_reset s[t]
                 soft  v[t] = h[t] - v_th s[t]
                 none  v[t] = h[t]

The gradient of (2) is the surrogate's g'(h[t] - v_th), also with respect to v_th. With
`detach_reset` the s[t] in (3) carries no gradient; h[t] and v_th in (3) always do.

| neuron | decay          | gain                               | source                           |
|--------|----------------|------------------------------------|----------------------------------|
| IF     | 1              | 1                                  | Fang et al. 2021 (SEW ResNet)    |
| LIF    | 1 - 1/tau      | 1/tau (1 without decay_input)      | Fang et al. 2021 (PLIF)          |
| PLIF   | 1 - sigmoid(w) | sigmoid(w) (1 without decay_input) | Fang et al. 2021 (PLIF)          |
| S2LIF  | beta           | (1 - beta) / (||w||^2 + 1e-8)      | Pellegrini et al. 2021 (s2net)   |

What differs from the papers: s2net fires at h > v_th, this scan at h >= v_th, like the others. A
soft reset with an infinite threshold is 0 * inf = NaN; a neuron that only integrates takes
reset=none.

Numbers: x is float16, bfloat16, float32 or float64. State and arithmetic are float32, float64 for
float64 input; every operation rounds once, in the order written, and no provider fuses or
reorders them. So all providers give the same spikes, on any machine, to the last bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnexp.kernels.layout import Layout, empty_steps
from snnexp.kernels.lif.settings import Scan
from snnexp.surrogates import Surrogate


def lif(
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    scan: Scan,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run equations (1) to (3) over the time axis of a dense x; return (spikes, v, count).

    `spikes` has shape, dtype and memory layout of x. `v`, the membrane after the last step, and
    `count`, the spikes of each neuron over all steps (float32, no gradient), lack the time axis.
    With `scan.steps`, x has one step, which is x[t] at each of that many t: time is then outermost
    in the memory of spikes, and the gradient of x is a sum over t in the type of the state.
    decay, gain and v_th have the dtype of the state and are 0-d or one value a channel.
    """
    state, v_reset, reset = decay.dtype, scan.v_reset, scan.reset
    time_dim, channel_dim, steps = scan.time_dim, scan.channel_dim, scan.steps
    if steps is None:
        layout = Layout.of(x, time_dim, channel_dim)
        drive = layout.to_scan(x).unbind(1)
    else:
        layout = Layout.of(empty_steps(x.to("meta"), time_dim, steps), time_dim, channel_dim)
        drive = (layout.to_step(x.to(state).select(time_dim, 0)),) * steps
    step_ACL = (layout.above, layout.channels, layout.below)
    decay, gain, v_th = (p if p.ndim == 0 else p[:, None] for p in (decay, gain, v_th))

    if v0 is None:
        v = torch.full(step_ACL, v_reset, dtype=state, device=x.device)
    else:
        v = layout.to_step(v0.to(state))
    count = torch.zeros(step_ACL, dtype=torch.float32, device=x.device)
    spikes = []
    for x_t in drive:
        h = v_reset + decay * (v - v_reset) + gain * x_t.reshape(step_ACL).to(state)
        s = surrogate(h - v_th)
        s_reset = s.detach() if scan.detach_reset else s
        if reset == "hard":
            v = h * (1 - s_reset) + v_reset * s_reset
        elif reset == "soft":
            v = h - v_th * s_reset
        else:
            v = h
        count += s.detach()
        spikes.append(s.to(x.dtype).view(layout.outer, layout.inner))

    spikes_OTI = torch.stack(spikes, 1) if spikes else torch.empty_like(layout.to_scan(x))
    return layout.from_scan(spikes_OTI), layout.from_step(v), layout.from_step(count)
