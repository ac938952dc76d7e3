"""The `cpu` provider of the LIF scan: torch tensors in, Numba kernels, torch tensors out."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from snnexp.kernels import native
from snnexp.kernels.allocator import empty_like, in_huge_pages
from snnexp.kernels.layout import Layout, empty_steps
from snnexp.kernels.lif.cpu_backward import BACKWARD, CONSTANTS, backward_kernel
from snnexp.kernels.lif.cpu_forward import FORWARD, forward_kernel
from snnexp.kernels.lif.cpu_tiles import WIDTH
from snnexp.kernels.lif.settings import Learned, Scan
from snnexp.kernels.slopes import CODES, slope_constants
from snnexp.kernels.vectors import LANES, whole_lanes

# Numba knows no bfloat16 and computes no float16: the kernels get the bits.
STORED = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.bfloat16: np.uint16,
    torch.float16: np.int16,
}
STATE = {torch.float32: np.float32, torch.float64: np.float64}

#: the scratch of all steps of a tile stays in a core's cache
SCRATCH_BYTES = 2**18
#: rows shorter than this are packed side by side, as are those that are no whole vectors long
SHORT_ROW = 64
#: outputs of this size and more are stored past the caches, which would not hold them until they
#: are read; and steps often lie apart by what puts all into the same few lines of the first cache
STREAM_BYTES = 2**21
#: neurons worth waking a thread for, and the most partial sums of a parameter's gradient
TASK_NEURONS, MAX_TASKS = 8192, 256


def _sizes(layout: Layout, state: torch.dtype, by_channel: bool) -> dict[str, int]:
    """Cut the neurons into tiles and tasks, by sizes only: sums come out the same everywhere."""
    width = max(LANES, min(WIDTH, SCRATCH_BYTES // (state.itemsize * max(1, layout.steps))))
    width -= width % LANES
    short = layout.inner < SHORT_ROW or (layout.inner % LANES and layout.inner <= width)
    if short and layout.outer > 1:
        rows = min(max(1, width // layout.inner), layout.outer)
        width, tiles = whole_lanes(rows * layout.inner), -(-layout.outer // rows)
    else:
        rows, pieces = 0, -(-layout.inner // width)
        width, tiles = whole_lanes(-(-layout.inner // pieces)), layout.outer * pieces
    return {
        "outer": layout.outer,
        "steps": layout.steps,
        "inner": layout.inner,
        "params": layout.channels if by_channel else 1,
        "below": layout.below if by_channel else layout.neurons,
        "rows": rows,
        "width": width,
        "tiles": tiles,
        "tasks": max(1, min(tiles, MAX_TASKS, layout.neurons // TASK_NEURONS)),
    }


def _past_cache(layout: Layout, stored: torch.dtype) -> bool:
    """Say whether outputs are stored past the caches: large ones, whose rows begin in a line."""
    large = layout.neurons * layout.steps * stored.itemsize >= STREAM_BYTES
    return large and layout.inner >= SHORT_ROW and layout.inner % LANES == 0


class Plan:
    """A scan of one kind on tensors of one shape: all that calls have in common.

    x is dense, of this dtype, shape and stride. The kernel of the backward is compiled when it is
    first needed.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        by_channel: bool,
        scan: Scan,
    ) -> None:
        self.scan, self.by_channel, self.static = scan, by_channel, scan.steps is not None
        self.stored = dtype
        self.state = torch.float64 if dtype == torch.float64 else torch.float32
        if scan.steps is not None:
            x = torch.empty_strided(shape, stride, device="meta")
            spikes = empty_steps(x, scan.time_dim, scan.steps)
            shape, stride = spikes.shape, spikes.stride()
        self.layout = Layout.of_strides(shape, stride, scan.time_dim, scan.channel_dim)
        self.shape, self.stride = shape, stride
        self._backward: dict[str, native.Launch] = {}

    @cached_property
    def _forward(self) -> native.Launch | None:
        if not self.layout.neurons:
            return None
        past_cache = _past_cache(self.layout, self.stored)
        types = STORED[self.stored], STATE[self.state]
        kernel = forward_kernel(*types, self.scan.reset, self.by_channel, past_cache, self.static)
        sizes = _sizes(self.layout, self.state, self.by_channel)
        return native.Launch(kernel, FORWARD, {**sizes, "v_reset": self.scan.v_reset})

    def _adjoint(self, learned: Learned) -> native.Launch:
        if (launch := self._backward.get(learned)) is not None:
            return launch
        scan = self.scan
        # one step goes to memory of a static x, among the many that are read
        past_cache = not self.static and _past_cache(self.layout, self.stored)
        kernel = backward_kernel(
            STORED[self.stored],
            STATE[self.state],
            scan.reset,
            scan.detach_reset,
            CODES[scan.surrogate],
            self.by_channel,
            learned,
            past_cache,
            self.static,
        )
        constants = slope_constants(scan.surrogate, scan.surrogate_params)
        self._backward[learned] = native.Launch(
            kernel,
            BACKWARD,
            {
                **_sizes(self.layout, self.state, self.by_channel),
                "v_reset": scan.v_reset,
                **dict(zip(CONSTANTS, constants, strict=True)),
            },
        )
        return self._backward[learned]

    def _params(self, *params: Tensor) -> tuple[Tensor, ...]:
        """Return the parameters in one length."""
        if not self.by_channel:
            return params
        return tuple([p.expand(self.layout.channels).contiguous() for p in params])

    def _step(self, v: Tensor | None) -> Tensor | None:
        """Return one step's values with the neurons in the order of memory."""
        return None if v is None else self.layout.to_step(v).contiguous()

    def empty_spikes(self, x: Tensor) -> Tensor:
        """Return memory for the spikes of x, or their gradient, as they lie."""
        if not self.static:
            return empty_like(x)
        return in_huge_pages(x.new_empty_strided(self.shape, self.stride))

    def forward(
        self, x: Tensor, v0: Tensor | None, decay: Tensor, gain: Tensor, v_th: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the scan of `reference.lif`; return (spikes, v, count)."""
        run, step = self._forward, (self.layout.step_shape, self.layout.step_stride)
        spikes = self.empty_spikes(x)
        v = x.new_empty_strided(*step, dtype=self.state)
        count = x.new_empty_strided(*step, dtype=torch.float32)
        if run is not None:
            run(x, self._step(v0), *self._params(decay, gain, v_th), spikes, v, count)
        return spikes, v, count

    def backward(
        self,
        grad_spikes: Tensor,
        grad_v: Tensor | None,
        x: Tensor,
        v0: Tensor | None,
        decay: Tensor,
        gain: Tensor,
        v_th: Tensor,
        learned: Learned,
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of (x, v0, decay, gain, v_th), grad_spikes lying like the spikes.

        That of v0 is None without v0, those of parameters that are not `learned` are None.
        """
        layout = self.layout
        grad_x = empty_like(x)
        grad_v0 = None if v0 is None else layout.empty_step(self.state)
        run = self._adjoint(learned) if layout.neurons else None
        sums = None
        if learned != "none":
            groups = layout.channels if self.by_channel else 1
            sums = torch.zeros(run.tasks if run else 0, 3, groups, dtype=torch.float64)
        if run is not None:
            params = self._params(decay, gain, v_th)
            run(grad_spikes, self._step(grad_v), x, self._step(v0), *params, grad_x, grad_v0, sums)
        if sums is None:
            return grad_x, grad_v0, None, None, None
        # an operator's outputs must not share memory
        of_decay, of_gain, of_th = [
            (total if p.ndim else total.sum()).to(p.dtype, copy=True)
            for total, p in zip(sums.sum(0), (decay, gain, v_th), strict=True)
        ]
        return grad_x, grad_v0, of_decay, of_gain, of_th if learned == "all" else None


# A net calls its layers with the same few shapes in every step.
plan = lru_cache(maxsize=1024)(Plan)


def _plan_for(x: Tensor, params: tuple[Tensor, ...], scan: Scan) -> Plan:
    by_channel = any(p.ndim for p in params)
    return plan(x.dtype, x.shape, x.stride(), by_channel, scan)


def forward(
    x: Tensor, v0: Tensor | None, decay: Tensor, gain: Tensor, v_th: Tensor, scan: Scan
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the scan of `reference.lif` on a dense x; return (spikes, v, count)."""
    return _plan_for(x, (decay, gain, v_th), scan).forward(x, v0, decay, gain, v_th)


def backward(
    grad_spikes: Tensor,
    grad_v: Tensor | None,
    x: Tensor,
    v0: Tensor | None,
    decay: Tensor,
    gain: Tensor,
    v_th: Tensor,
    scan: Scan,
    learned: Learned,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of (x, v0, decay, gain, v_th); see `Plan.backward`."""
    of = _plan_for(x, (decay, gain, v_th), scan)
    return of.backward(grad_spikes, grad_v, x, v0, decay, gain, v_th, learned)
