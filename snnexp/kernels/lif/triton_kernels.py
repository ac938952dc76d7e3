"""The LIF scan and its adjoint for CUDA: everything that Triton compiles.

Letters: T time; x is [O, T, I] in memory, neurons are [A, C, L] (see `snnexp.kernels.layout`).

How it works, and why:
- *A thread owns a few neighbouring neurons and runs them through time*, the state in registers. A
  step reads and writes up to 128 bits a thread, so whole lines of memory.
- *Loads run ahead.* The steps of a few loads are unrolled: the loads come first, the scan follows.
- *h is recomputed in the backward*, from x, for up to `STEPS` steps at once, and stays in
  registers: 8 bytes a neuron and step forward and 12 backward at float32. Longer sequences are
  cut: a first pass over x keeps one membrane every `STEPS` steps, 4 bytes a neuron and step more.
- *A drive that stays the same is read once*: with `STATIC` x has one step, which is the input of
  each and stays in registers, as does the sum over time of its gradient.
- *No fused multiply-add*: every launch passes `enable_fp_fusion=False`, so that spikes are the
  reference's to the last bit (see reference.py).
- *No atomics.* Gradients of parameters leave as partial sums of neighbours in one channel; torch
  adds those in a fixed order.
- T, sizes, and the surrogate's numbers are run-time values: another length or steepness compiles
  nothing. `VEC`, a power of two that divides I, tells the compiler what is aligned.

`STATE` is the type of arithmetic, `INDEX` that of a neuron's address; pointers that are None stand
for what is not there.
"""

import triton
import triton.language as tl

#: loads of x or grad_s under way at once
AHEAD = tl.constexpr(4)


@triton.jit
def neurons_of(outer, inner, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """Return the neurons of this program, and which of them exist."""
    n = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    return n, n < outer * inner


@triton.jit
def address(n, steps, inner, SINGLE: tl.constexpr):
    """Return where the first steps of neurons stand in x; `SINGLE` says that O is 1."""
    return n if SINGLE else n + n // inner * ((steps - 1) * inner).to(n.dtype)


@triton.jit
def parameter(p, channel, exists, BY_CHANNEL: tl.constexpr):
    """Load a parameter: one value, or that of each neuron's channel."""
    return tl.load(p + channel, mask=exists, other=0) if BY_CHANNEL else tl.load(p)


@triton.jit
def membrane(v, n, exists, default, BLOCK: tl.constexpr):
    """Load one value a neuron, or the default where there are no values."""
    if v is None:
        values = tl.full([BLOCK], 0, default.dtype) + default
    else:
        values = tl.load(v + n, mask=exists, other=0)
    return values


@triton.jit
def charge(x, v, v_reset, decay, gain):
    """Return h of equation (1)."""
    return v_reset + decay * (v - v_reset) + gain * x


@triton.jit
def after(h, spike, v_reset, v_th, RESET: tl.constexpr):
    """Return v of equation (3)."""
    if RESET == "hard":
        v = h * (1 - spike) + v_reset * spike
    elif RESET == "soft":
        v = h - v_th * spike
    else:
        v = h
    return v


@triton.jit
def slope(u, a, b, c, d, e, SURROGATE: tl.constexpr):
    """Return the surrogate's g'(u), see `snnexp.kernels.slopes`."""
    if SURROGATE == "atan":
        z = b * u
        g = a / (1 + z * z)
    elif SURROGATE == "sigmoid":
        q = tl.exp(-b * tl.abs(u))
        g = a * q / ((1 + q) * (1 + q))
    elif SURROGATE == "fast_sigmoid":
        z = 1 + b * tl.abs(u)
        g = 1 / (z * z)
    elif SURROGATE == "triangle":
        g = a * tl.maximum(1 - b * tl.abs(u), 0)
    elif SURROGATE == "rectangle":
        g = tl.where(tl.abs(u) < b, a, 0)
    elif SURROGATE == "erf":
        z = b * u
        g = a * tl.exp(-(z * z))
    else:
        tl.static_assert(SURROGATE == "multi_gaussian", "unknown surrogate")
        z, lower, upper = b * u, d * (u - e), d * (u + e)
        g = a * tl.exp(-(z * z)) - c * (tl.exp(-(lower * lower)) + tl.exp(-(upper * upper)))
    return g


@triton.jit
def store_sums(sums, values, neurons, BLOCK: tl.constexpr, GROUP: tl.constexpr):
    """Store the sums of each `GROUP` neighbours."""
    group = tl.program_id(0).to(tl.int64) * (BLOCK // GROUP) + tl.arange(0, BLOCK // GROUP)
    totals = tl.sum(tl.reshape(values, [BLOCK // GROUP, GROUP]), axis=1)
    tl.store(sums + group, totals, mask=group * GROUP < neurons)


@triton.jit(do_not_specialize=["steps", "outer", "units", "below", "channels"])
def forward_kernel(
    x,
    v0,
    decay,
    gain,
    v_th,
    s,
    v,
    count,
    v_reset: tl.float64,
    steps,
    outer,
    units,
    below,
    channels,
    RESET: tl.constexpr,
    DECAY_C: tl.constexpr,
    GAIN_C: tl.constexpr,
    TH_C: tl.constexpr,
    SINGLE: tl.constexpr,
    VEC: tl.constexpr,
    BLOCK: tl.constexpr,
    STATE: tl.constexpr,
    INDEX: tl.constexpr,
    STATIC: tl.constexpr,
):
    """Run the scan: read x, v0, decay, gain, v_th; fill s, v, count."""
    inner = units.to(tl.int64) * VEC
    n, exists = neurons_of(outer, inner, BLOCK, INDEX)
    at = address(n, steps, inner, SINGLE)
    c = n // below % channels if DECAY_C or GAIN_C or TH_C else n
    d = parameter(decay, c, exists, DECAY_C)
    g = parameter(gain, c, exists, GAIN_C)
    th = parameter(v_th, c, exists, TH_C)
    rest = tl.full([], v_reset, STATE)
    vs = membrane(v0, n, exists, rest, BLOCK)
    counts = tl.zeros([BLOCK], tl.float32)
    if STATIC:
        same = tl.load(x + at, mask=exists, other=0)

    ahead = steps // AHEAD * AHEAD
    for t in range(0, ahead, AHEAD):
        xs = ()
        for i in tl.static_range(AHEAD):
            xt = same if STATIC else tl.load(x + (t + i) * inner + at, mask=exists, other=0)
            xs += (xt,)
        for i in tl.static_range(AHEAD):
            h = charge(xs[i].to(STATE), vs, rest, d, g)
            spike = (h >= th).to(STATE)
            vs = after(h, spike, rest, th, RESET)
            counts += spike.to(tl.float32)
            tl.store(s + (t + i) * inner + at, spike.to(s.dtype.element_ty), mask=exists)
    for t in range(ahead, steps):
        xt = same if STATIC else tl.load(x + t * inner + at, mask=exists, other=0)
        h = charge(xt.to(STATE), vs, rest, d, g)
        spike = (h >= th).to(STATE)
        vs = after(h, spike, rest, th, RESET)
        counts += spike.to(tl.float32)
        tl.store(s + t * inner + at, spike.to(s.dtype.element_ty), mask=exists)

    tl.store(v + n, vs, mask=exists)
    tl.store(count + n, counts, mask=exists)


@triton.jit(do_not_specialize=["steps", "outer", "units", "below", "channels"])
def backward_kernel(
    grad_s,
    grad_v,
    x,
    v0,
    decay,
    gain,
    v_th,
    grad_x,
    grad_v0,
    kept,
    sum_decay,
    sum_gain,
    sum_th,
    v_reset: tl.float64,
    c0: tl.float64,
    c1: tl.float64,
    c2: tl.float64,
    c3: tl.float64,
    c4: tl.float64,
    steps,
    outer,
    units,
    below,
    channels,
    RESET: tl.constexpr,
    DETACH: tl.constexpr,
    SURROGATE: tl.constexpr,
    DECAY_C: tl.constexpr,
    GAIN_C: tl.constexpr,
    TH_C: tl.constexpr,
    GROUP: tl.constexpr,
    SINGLE: tl.constexpr,
    VEC: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    STATE: tl.constexpr,
    INDEX: tl.constexpr,
    STATIC: tl.constexpr,
):
    """Run the adjoint of the scan, derived in kernels/README.md.

    Reads grad_s, grad_v and what the scan reads; fills grad_x, of as many steps as x, grad_v0 and,
    where parameters are learned, their sums: of `GROUP` neighbours where there is one value a
    channel, else of `BLOCK`.
    `kept` has room for the membranes between pieces of `STEPS` steps; None: all fit in one piece.
    """
    inner = units.to(tl.int64) * VEC
    neurons = outer * inner
    n, exists = neurons_of(outer, inner, BLOCK, INDEX)
    at = address(n, steps, inner, SINGLE)
    c = n // below % channels if DECAY_C or GAIN_C or TH_C else n
    d = parameter(decay, c, exists, DECAY_C)
    g = parameter(gain, c, exists, GAIN_C)
    th = parameter(v_th, c, exists, TH_C)
    rest = tl.full([], v_reset, STATE)
    k0 = tl.full([], c0, STATE)
    k1 = tl.full([], c1, STATE)
    k2 = tl.full([], c2, STATE)
    k3 = tl.full([], c3, STATE)
    k4 = tl.full([], c4, STATE)
    first = membrane(v0, n, exists, rest, BLOCK)
    if STATIC:
        same = tl.load(x + at, mask=exists, other=0)

    last = 0
    if kept is not None:
        last = (steps - 1) // STEPS
        v = first
        for piece in range(last):
            for j in tl.static_range(0, STEPS, AHEAD):
                t = piece * STEPS + j
                xs = ()
                for i in tl.static_range(AHEAD):
                    to_come = x + (t + i) * inner + at
                    xs += (same if STATIC else tl.load(to_come, mask=exists, other=0),)
                for i in tl.static_range(AHEAD):
                    h = charge(xs[i].to(STATE), v, rest, d, g)
                    v = after(h, (h >= th).to(STATE), rest, th, RESET)
            tl.store(kept + piece * neurons + n, v, mask=exists)
        tl.debug_barrier()

    gv = membrane(grad_v, n, exists, tl.zeros([], STATE), BLOCK)
    g_x = tl.zeros([BLOCK], STATE)
    g_decay = tl.zeros([BLOCK], STATE)
    g_gain = tl.zeros([BLOCK], STATE)
    g_th = tl.zeros([BLOCK], STATE)
    for back in range(last + 1):
        piece = last - back
        start = first
        if kept is not None:
            before = kept + (piece - 1) * neurons + n
            start = tl.where(piece > 0, tl.load(before, exists & (piece > 0), 0), first)
        xs, hs, v = (), (), start
        for i in tl.static_range(STEPS):
            t = piece * STEPS + i
            here = exists & (t < steps)
            xt = same if STATIC else tl.load(x + t * inner + at, mask=here, other=0)
            h = charge(xt.to(STATE), v, rest, d, g)
            v = after(h, (h >= th).to(STATE), rest, th, RESET)
            xs += (xt,)
            hs += (h,)

        gs = ()
        for i in tl.static_range(min(AHEAD, STEPS)):
            t = piece * STEPS + STEPS - 1 - i
            gs += (tl.load(grad_s + t * inner + at, mask=exists & (t < steps), other=0),)
        for i in tl.static_range(STEPS - 1, -1, -1):
            t = piece * STEPS + i
            if i >= AHEAD:
                to_come = grad_s + (t - AHEAD) * inner + at
                gs += (tl.load(to_come, mask=exists & (t - AHEAD < steps), other=0),)
            h, g_spike, gh = hs[i], gs[STEPS - 1 - i].to(STATE), gv
            spike = (h >= th).to(STATE)
            if RESET == "hard":
                gh = gv * (1 - spike)
                if not DETACH:
                    g_spike += gv * (rest - h)
            elif RESET == "soft" and not DETACH:
                g_spike -= gv * th
            fired = g_spike * slope(h - th, k0, k1, k2, k3, k4, SURROGATE)
            gh += fired
            if STATIC:
                g_x += tl.where(t < steps, gh, 0)
            else:
                tl.store(
                    grad_x + t * inner + at,
                    (g * gh).to(grad_x.dtype.element_ty),
                    mask=exists & (t < steps),
                )
            if sum_decay is not None:
                v = start
                if i > 0:
                    h = hs[i - 1]
                    v = after(h, (h >= th).to(STATE), rest, th, RESET)
                g_decay += tl.where(t < steps, gh * (v - rest), 0)
                if not STATIC:
                    g_gain += tl.where(t < steps, gh * xs[i].to(STATE), 0)
                g_th -= tl.where(t < steps, fired + gv * spike if RESET == "soft" else fired, 0)
            gv = tl.where(t < steps, d * gh, gv)

    if STATIC:
        tl.store(grad_x + at, (g * g_x).to(grad_x.dtype.element_ty), mask=exists)
        g_gain = g_x * same.to(STATE)
    if grad_v0 is not None:
        tl.store(grad_v0 + n, gv, mask=exists)
    if sum_decay is not None:
        zero = tl.zeros([BLOCK], STATE)
        g_decay = tl.where(exists, g_decay, zero)
        g_gain = tl.where(exists, g_gain, zero)
        g_th = tl.where(exists, g_th, zero)
        store_sums(sum_decay, g_decay, neurons, BLOCK, GROUP if DECAY_C else BLOCK)
        store_sums(sum_gain, g_gain, neurons, BLOCK, GROUP if GAIN_C else BLOCK)
        store_sums(sum_th, g_th, neurons, BLOCK, GROUP if TH_C else BLOCK)
