"""Run a compiled kernel over numbered tasks, in as many threads as torch uses.

A kernel is a Numba C callback `kernel(task, arguments)`; `arguments` is the address of one record
that holds the addresses of all arrays and all numbers. That has three reasons:
- one parallel loop, compiled once and cached, serves all kernels, of which each needs compiling
  only as serial code: half the time of Numba's `parallel=True`;
- a launch hands over two integers instead of twenty arrays, and a single task needs no threads;
- Numba's OpenMP layer finds torch's libgomp already loaded, so both use the same threads.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

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


@njit(parallel=True, nogil=True, cache=True)
def _run(kernel: int, arguments: int, tasks: int) -> None:
    for task in prange(tasks):
        call(kernel, np.int64(task), arguments)


def run(kernel: Any, arguments: np.ndarray[Any, Any], tasks: int) -> None:
    """Call kernel(task, arguments) for all tasks."""
    at = arguments.ctypes.data
    threads = min(tasks, torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    if threads <= 1:
        for task in range(tasks):
            kernel.ctypes(task, at)
    else:
        numba.set_num_threads(threads)
        _run(kernel.address, at, tasks)
