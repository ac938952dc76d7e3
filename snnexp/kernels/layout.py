"""How a scan sees a tensor in memory, whatever its axes are called.

Letters: O positions outside of the time axis, T time, I positions inside of it; A, C, L neurons
above a channel, channels, neurons below a channel.

A dense tensor, in whatever order its axes are stored, is one contiguous run of numbers. The time
axis cuts it into [O, T, I]. Neurons are numbered as they lie in memory with the time axis taken
out, n = o I + i, so that

    address of (n, t) = (o T + t) I + i,     channel of n = (n // L) % C,

wherever the channel axis stands: the same N = O I neurons are [A, C, L]. So [T, B, C, H, W],
[B, C, T, F], and either of them stored channels-last need no copy.

What a step that is shown several times makes lies with time outermost, each step as the one shown:
O is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch
from torch import Tensor


def memory_order(stride: tuple[int, ...]) -> tuple[int, ...]:
    """Return axes with these strides from the outermost in memory to the innermost."""
    # The stride of an axis of length 1 means nothing, and neither does the place it sorts to.
    return tuple(sorted(range(len(stride)), key=stride.__getitem__, reverse=True))


def is_dense(x: Tensor) -> bool:
    """Say whether x covers its memory without gaps or overlaps, in any order of its axes."""
    return x.is_contiguous() or strides_are_dense(x.shape, x.stride())


def strides_are_dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Say so of a tensor of this shape and stride."""
    if 0 in shape:
        return True
    expected = 1
    for axis in reversed(memory_order(stride)):
        if shape[axis] != 1:
            if stride[axis] != expected:
                return False
            expected *= shape[axis]
    return True


def lie_alike(
    shape: tuple[int, ...], stride: tuple[int, ...], other_stride: tuple[int, ...]
) -> bool:
    """Say whether tensors of one shape lie alike in memory; strides of single steps say nothing."""
    if stride == other_stride:
        return True
    return all(a == b for n, a, b in zip(shape, stride, other_stride, strict=True) if n != 1)


def _time_first(x: Tensor, time_dim: int) -> tuple[list[int], list[int]]:
    """Return the axes of x as stored with time outermost, and where each axis of x is in them."""
    time_dim %= x.ndim
    order = [time_dim, *(axis for axis in memory_order(x.stride()) if axis != time_dim)]
    return order, [order.index(axis) for axis in range(x.ndim)]


def empty_steps(x: Tensor, time_dim: int, steps: int) -> Tensor:
    """Return memory for what the one step of x makes when it is shown `steps` times."""
    order, back = _time_first(x, time_dim)
    return x.new_empty([steps, *(x.shape[axis] for axis in order[1:])]).permute(back)


def repeat_step(x: Tensor, time_dim: int, steps: int) -> Tensor:
    """Copy the one step of x `steps` times along its time axis: for what cannot be shown it.

    Raises ValueError as `check_steps`.
    """
    check_steps(x.shape, time_dim, steps)
    order, back = _time_first(x, time_dim)
    stored = x.permute(order)
    # as rows: cat takes some 4-d tensors for channels last
    rows = torch.cat([stored.reshape(1, -1)] * steps)
    return rows.view(steps, *stored.shape[1:]).permute(back)


def check_steps(shape: tuple[int, ...], time_dim: int, steps: int) -> None:
    """Raise ValueError unless x of this shape is one step, to be shown at least once."""
    if steps < 1:
        raise ValueError(f"steps={steps}: expected at least 1, or None for an x with its own steps")
    if shape[time_dim] != 1:
        raise ValueError(
            f"steps={steps} shows one step that many times, but x {tuple(shape)} has "
            f"{shape[time_dim]} along its time axis {time_dim}; give x[t:t+1], or no steps"
        )


def _layout(
    shape: tuple[int, ...], stride: tuple[int, ...], time_dim: int, channel_dim: int
) -> Layout:
    time_dim, channel_dim = time_dim % len(shape), channel_dim % len(shape)
    order = memory_order(stride)
    at, channel_at = order.index(time_dim), order.index(channel_dim)
    sizes = [shape[axis] for axis in order]
    step_order = tuple([axis - (axis > time_dim) for axis in order if axis != time_dim])
    step_stored = tuple([n for i, n in enumerate(sizes) if i != at])
    back = tuple([step_order.index(axis) for axis in range(len(step_order))])
    lasting = [prod([max(1, n) for n in step_stored[i + 1 :]]) for i in range(len(step_stored))]
    return Layout(
        outer=prod(sizes[:at]),
        steps=shape[time_dim],
        inner=prod(sizes[at + 1 :]),
        above=prod([n for i, n in enumerate(sizes) if i < channel_at and i != at]),
        channels=shape[channel_dim],
        below=prod([n for i, n in enumerate(sizes) if i > channel_at and i != at]),
        shape=tuple(shape),
        order=order,
        time_dim=time_dim,
        channel_dim=channel_dim,
        neurons=prod(step_stored),
        step_order=step_order,
        step_stored=step_stored,
        step_back=None if back == tuple(range(len(back))) else back,
        step_shape=tuple([n for axis, n in enumerate(shape) if axis != time_dim]),
        step_stride=tuple([lasting[place] for place in back]),
    )


# A net calls its layers with the same few shapes in every step. torch.compile traces no cache.
_known_layout = lru_cache(maxsize=1024)(_layout)


@dataclass(frozen=True, eq=False)
class Layout:
    """A dense tensor as [O, T, I], its neurons as [A, C, L], and the way back to its own axes.

    `order` are its axes from the outermost in memory to the innermost, `step_order` those of a step
    (x without time), `step_stored` their lengths in that order. `step_back` says where each axis of
    a step stands in memory; None if all stand as they are numbered. `step_shape` and `step_stride`
    are those of `from_step`.
    """

    outer: int
    steps: int
    inner: int
    above: int
    channels: int
    below: int
    shape: tuple[int, ...]
    order: tuple[int, ...]
    time_dim: int
    channel_dim: int
    neurons: int
    step_order: tuple[int, ...]
    step_stored: tuple[int, ...]
    step_back: tuple[int, ...] | None
    step_shape: tuple[int, ...]
    step_stride: tuple[int, ...]

    @classmethod
    def of(cls, x: Tensor, time_dim: int, channel_dim: int) -> Layout:
        """Return the layout of a dense x."""
        return cls.of_strides(x.shape, x.stride(), time_dim, channel_dim)

    @staticmethod
    def of_strides(
        shape: tuple[int, ...], stride: tuple[int, ...], time_dim: int, channel_dim: int
    ) -> Layout:
        """Return the layout of a dense tensor of this shape and stride."""
        of = _layout if torch.compiler.is_compiling() else _known_layout
        return of(shape, stride, time_dim, channel_dim)

    def to_scan(self, x: Tensor) -> Tensor:
        """View a tensor that lies in memory like x as x_OTI; copy one that does not."""
        return x.permute(self.order).reshape(self.outer, self.steps, self.inner)

    def from_scan(self, x_OTI: Tensor) -> Tensor:
        """View x_OTI in the axes of x."""
        stored = x_OTI.view([self.shape[axis] for axis in self.order])
        return stored.permute([self.order.index(axis) for axis in range(len(self.order))])

    def to_step(self, v: Tensor) -> Tensor:
        """View (or copy, where its axes are stored otherwise) one step as v_ACL."""
        return v.permute(self.step_order).reshape(self.above, self.channels, self.below)

    def empty_step(self, dtype: torch.dtype) -> Tensor:
        """Return memory on the CPU for one step, in the axes of x without time."""
        return torch.empty_strided(self.step_shape, self.step_stride, dtype=dtype, device="cpu")

    def from_step(self, v_ACL: Tensor) -> Tensor:
        """View v_ACL in the axes of x without time."""
        stored = v_ACL.reshape(self.step_stored)
        return stored if self.step_back is None else stored.permute(self.step_back)
