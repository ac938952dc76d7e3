"""What every provider of the LIF scan is held to: outputs and gradients of the reference."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from snnexp.kernels.lif import lif
from snnexp.surrogates import (
    ATan,
    Erf,
    FastSigmoid,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Surrogate,
    Triangle,
)

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
#: of a gradient, against its largest number
TOLERANCE = {F16: 2e-3, BF16: 1.6e-2, F32: 2e-5, F64: 1e-6}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One layer and its input; with `steps` the input is one step, shown that many times."""

    shape: tuple[int, ...]
    time_dim: int = 0
    channel_dim: int = 2
    dtype: torch.dtype = F32
    stored: str = "as is"
    steps: int | None = None
    v0: bool = True
    by_channel: tuple[str, ...] = ("decay", "gain", "v_th")
    #: of which parameters there are gradients: all (True), none (False), "decay and gain"
    learned: bool | str = True
    reset: str = "hard"
    detach: bool = False
    v_reset: float = 0.25
    use_spikes: bool = True
    use_v: bool = True
    surrogate: Surrogate = field(default_factory=lambda: ATan(alpha=2.0))

    @property
    def state(self):
        return F64 if self.dtype == F64 else F32

    @property
    def spikes(self):
        """Shape of the spikes."""
        shape = list(self.shape)
        if self.steps is not None:
            shape[self.time_dim] = self.steps
        return shape

    def id(self):
        default = Case(shape=())
        changed = {k: v for k, v in vars(self).items() if v != getattr(default, k)}
        return ",".join(str(v).removeprefix("torch.").replace(" ", "") for v in changed.values())


#: each value of each option at least once, and those together that could disturb one another
CASES = (
    Case(shape=(7, 3, 5, 4)),
    Case(shape=(7, 3, 5, 4), detach=True, v0=False),
    Case(shape=(7, 3, 5, 4), reset="soft", by_channel=()),
    Case(shape=(7, 3, 5, 4), reset="soft", detach=True, by_channel=("gain", "v_th")),
    Case(shape=(7, 3, 5, 4), reset="none", learned=False, by_channel=("decay",)),
    Case(shape=(7, 3, 5, 4), reset="none", detach=True, use_v=False),
    Case(shape=(6, 2, 8), learned=False, by_channel=(), use_spikes=False),
    Case(shape=(9, 2, 5, 16), learned="decay and gain", detach=True),
    # lengths: one step, a piece with room, full pieces, several pieces with a rest
    Case(shape=(1, 1, 1), v0=False),
    Case(shape=(1, 2, 500), learned=False),
    Case(shape=(16, 1, 60), detach=True),
    Case(shape=(63, 1, 60)),
    Case(shape=(63, 1, 1000), learned=False, reset="soft"),
    Case(shape=(32, 1, 1), by_channel=(), reset="soft"),
    Case(shape=(33, 3, 2, 16), channel_dim=2, time_dim=0),
    # time axes, and tensors stored otherwise
    Case(shape=(3, 4, 5, 6), time_dim=1, channel_dim=2),
    Case(shape=(3, 4, 5, 8), time_dim=2, channel_dim=1),
    Case(shape=(3, 4, 5, 6), time_dim=3, channel_dim=0),
    Case(shape=(40, 4, 18), time_dim=2, channel_dim=1, reset="soft"),
    Case(shape=(4, 6, 5, 3), time_dim=2, channel_dim=1, stored="channels last"),
    Case(shape=(5, 2, 6, 4, 8), channel_dim=2, stored="transposed"),
    Case(shape=(4, 6, 5, 6), time_dim=1, channel_dim=0, stored="with gaps"),
    # types
    Case(shape=(6, 2, 40), dtype=F16),
    Case(shape=(6, 2, 3, 8), dtype=BF16, by_channel=()),
    Case(shape=(18, 2, 40), dtype=BF16, reset="soft", learned=False),
    Case(shape=(6, 2, 9), dtype=F64),
    # surrogates
    Case(shape=(5, 2, 8), detach=True, surrogate=Sigmoid(alpha=10.0, scaled=False)),
    Case(shape=(5, 2, 8), detach=True, surrogate=Sigmoid(alpha=4.0, scaled=True)),
    Case(shape=(5, 2, 8), detach=True, surrogate=FastSigmoid(alpha=3.0)),
    Case(shape=(5, 2, 8), detach=True, surrogate=Triangle(alpha=1.0, peak=0.3)),
    Case(shape=(5, 2, 8), detach=True, surrogate=Rectangle(alpha=0.7)),
    Case(shape=(5, 2, 8), detach=True, surrogate=Erf(alpha=1.5)),
    Case(
        shape=(5, 2, 8),
        detach=True,
        surrogate=MultiGaussian(gamma=0.5, sigma=0.5, spread=6.0, height=0.15),
    ),
)

#: inputs of one step. What compiles few kernels for the CPU together covers: lengths in whole
#: pieces and not, rows of whole vectors and not, several tiles, time axes, layouts, types
STATIC = (
    Case(shape=(1, 3, 5, 4), steps=7),
    Case(shape=(1, 1, 1), steps=1, v0=False),
    Case(shape=(1, 2, 500), steps=63),
    Case(shape=(3, 1, 5, 6), time_dim=1, steps=16),
    Case(shape=(3, 4, 5, 1), time_dim=3, channel_dim=0, steps=18),
    Case(shape=(1, 2, 6, 4, 8), steps=5, stored="transposed"),
    Case(shape=(2, 6, 1, 7), time_dim=2, channel_dim=1, steps=4, stored="channels last"),
    Case(shape=(4, 1, 5, 6), time_dim=1, channel_dim=0, steps=6, stored="with gaps", use_v=False),
    Case(shape=(1, 4, 16, 48), steps=8, detach=True, learned=False, by_channel=()),
    Case(shape=(1, 2, 5, 16), steps=6, learned="decay and gain", reset="soft"),
    Case(shape=(1, 2, 599), steps=33, detach=True, learned=False, by_channel=(), use_spikes=False),
    Case(shape=(1, 3, 40), steps=40, reset="soft"),
    Case(shape=(1, 3, 40), steps=6, reset="none", by_channel=("decay",), v0=False),
    Case(shape=(1, 2, 3, 8), steps=6, dtype=BF16, detach=True, learned=False, by_channel=()),
    Case(shape=(1, 2, 40), steps=6, dtype=F16, learned=False),
    Case(shape=(1, 2, 9), steps=6, dtype=F64),
)

EMPTY = (
    Case(shape=(0, 2, 3)),
    Case(shape=(4, 0, 3)),
    Case(shape=(4, 2, 0), by_channel=()),
    Case(shape=(1, 2, 0), steps=4),
)


@contextmanager
def poisoned_memory():
    """Fill what torch.empty returns with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def stored(x, how):
    if how == "channels last":
        return x.contiguous(memory_format=torch.channels_last)
    if how == "transposed":
        return x.transpose(1, 3).contiguous().transpose(1, 3)
    if how == "with gaps":
        return x.repeat_interleave(2, -1)[..., ::2]
    return x


def inputs(case, dyadic=True):
    """Draw x, v0, parameters and cotangents of a case on the CPU.

    Dyadic values are multiples of 1/64 and the decay is 1/2: whatever the order of rounding, no
    spike flips.
    """
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        if dyadic:
            return torch.randint(-64, 128, shape, generator=random) / 64
        return torch.randn(shape, generator=random)

    step = [n for axis, n in enumerate(case.shape) if axis != case.time_dim]
    size = {p: case.by_channel and p in case.by_channel for p in ("decay", "gain", "v_th")}
    size = {p: (case.shape[case.channel_dim],) if by else () for p, by in size.items()}
    x = stored(draw(*case.shape).to(case.dtype), case.stored)
    v0 = draw(*step).to(case.state) if case.v0 else None
    decay = torch.full(size["decay"], 0.5 if dyadic else 0.83, dtype=case.state)
    gain = torch.randint(1, 4, size["gain"], generator=random).to(case.state) / 2
    v_th = torch.ones(size["v_th"], dtype=case.state)
    cotangents = (
        torch.randn(case.spikes, generator=random).to(case.dtype),
        torch.randn(step, generator=random).to(case.state),
    )
    return (x, v0, decay, gain, v_th), cotangents


def run(case, backend, device="cpu", dyadic=True, repeat=False):
    """Return outputs and gradients of a case, on the CPU; with `repeat` of all steps in memory."""
    given, cotangents = inputs(case, dyadic)
    # to(device) keeps the order of the axes in memory, and gaps only where nothing is moved
    given = [g if g is None else g.to(device).detach() for g in given]
    for g in given[: {False: 2, "decay and gain": 4, True: 5}[case.learned]]:
        if g is not None:
            g.requires_grad_()
    cotangents = [c.to(device) for c in cotangents]
    with poisoned_memory():
        x = given[0].expand(case.spikes).contiguous() if repeat else given[0]
        out = lif(
            x,
            *given[1:],
            v_reset=case.v_reset,
            reset=case.reset,
            detach_reset=case.detach,
            surrogate=case.surrogate,
            time_dim=case.time_dim,
            channel_dim=case.channel_dim,
            backend=backend,
            steps=None if repeat else case.steps,
        )
        used = [
            (o * c).sum()
            for o, c, use in zip(out[:2], cotangents, (case.use_spikes, case.use_v), strict=True)
            if use
        ]
        wanted = [g for g in given if g is not None and g.requires_grad]
        # without steps nothing but v0 is used
        grads = torch.autograd.grad(sum(used), wanted, allow_unused=True, materialize_grads=True)
    return [o.detach().cpu() for o in out], [g.cpu() for g in grads]


def check(case, backend, device="cpu", dyadic=True):
    """Compare a provider with the reference: spikes to the last bit, gradients closely.

    The reference is given all steps of an input of one step.
    """
    static = case.steps is not None
    expected_out, expected_grads = run(case, "reference", device, dyadic, repeat=static)
    out, grads = run(case, backend, device, dyadic)
    for got, expected in zip(out, expected_out, strict=True):
        assert got.dtype == expected.dtype
        if not static:
            assert got.stride() == expected.stride()
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
    if static:
        x = inputs(case)[0][0]
        x, spikes = (a.movedim(case.time_dim, 0) for a in (x, out[0]))
        assert spikes.stride(0) == spikes[0].numel() or 0 in case.shape
        assert spikes[0].stride() == torch.empty_like(x[0]).stride()
    if case.spikes[case.time_dim] > 3 and 0 not in case.shape:
        assert out[2].sum() > 0, "a case without spikes tests little"
    for got, expected in zip(grads, expected_grads, strict=True):
        assert got.dtype == expected.dtype
        scale = float(expected.abs().max()) if expected.numel() else 0.0
        tolerance = TOLERANCE[case.dtype]
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * scale)
