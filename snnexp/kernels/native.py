"""Run a compiled kernel over numbered tasks, in as many threads as torch uses.

A kernel is a Numba C callback `kernel(task, arguments)`; `arguments` is the address of one record
that holds the addresses of all arrays and all numbers. That has three reasons:
- one parallel loop, compiled once and cached, serves all kernels, of which each needs compiling
  only as serial code: half the time of Numba's `parallel=True`;
- a launch hands over two integers instead of twenty arrays, and a single task needs no threads;
- Numba's OpenMP layer finds torch's libgomp already loaded, so both use the same threads.
"""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic
from torch import Tensor

#: what a kernel looks like to C
SIGNATURE = types.void(types.int64, types.int64)


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """Make a pointer of an address, for `numba.carray`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@intrinsic
def call(typingctx: Any, kernel: Any, task: Any, arguments: Any) -> Any:
    """Call the kernel at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i64 = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [i64, i64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


class Record:
    """The layout of a kernel's arguments: 8 bytes each, integers and addresses before numbers."""

    def __init__(self, integers: tuple[str, ...], numbers: tuple[str, ...]) -> None:
        self.names = integers + numbers
        self.dtype = np.dtype(
            [(n, np.int64) for n in integers] + [(n, np.float64) for n in numbers]
        )
        self._packed = Struct(f"={len(integers)}q{len(numbers)}d")

    def fill(self, given: dict[str, Any]) -> ctypes.Array[ctypes.c_char]:
        """Return a record; a tensor is given by its address, what is not given or None by 0."""
        values = [given.get(name) for name in self.names]
        packed = self._packed.pack(
            *(0 if v is None else v.data_ptr() if isinstance(v, Tensor) else v for v in values)
        )
        return ctypes.create_string_buffer(packed, len(packed))


@njit(parallel=True, nogil=True, cache=True)
def _run(kernel: int, arguments: int, tasks: int) -> None:
    for task in prange(tasks):
        call(kernel, np.int64(task), arguments)


def run(kernel: Any, arguments: ctypes.Array[ctypes.c_char], tasks: int) -> None:
    """Call kernel(task, arguments) for all tasks."""
    at = ctypes.addressof(arguments)
    threads = min(tasks, torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    if threads <= 1:
        for task in range(tasks):
            kernel.ctypes(task, at)
    else:
        numba.set_num_threads(threads)
        _run(kernel.address, at, tasks)
