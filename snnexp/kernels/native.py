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
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

#: what a kernel looks like to C
SIGNATURE = types.void(types.int64, types.int64)

#: bytes of a cache line
LINE = 64

MOST_THREADS: int = numba.config.NUMBA_NUM_THREADS


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


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which need not exist."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [where, i32, i32, i32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # to read, into every cache, data
        builder.call(ask, [builder.inttoptr(args[0], where), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def store_past_cache(typingctx: Any, source: Any, target: Any) -> Any:
    """Copy a cache line from one address to another, a multiple of `LINE`, past the caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = ir.VectorType(ir.IntType(32), LINE // 4).as_pointer()
        source, target = (builder.inttoptr(a, line) for a in args)
        store = builder.store(builder.load(source, align=1), target, align=LINE)
        one = builder.module.add_metadata([ir.IntType(32)(1)])
        store.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def fence(typingctx: Any) -> Any:
    """Let other threads see what was stored past the caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


class Record:
    """The layout of a kernel's arguments, 8 bytes each: addresses of arrays, sizes, numbers."""

    def __init__(
        self, arrays: tuple[str, ...], sizes: tuple[str, ...], numbers: tuple[str, ...]
    ) -> None:
        self.dtype = np.dtype(
            [(n, np.int64) for n in arrays + sizes] + [(n, np.float64) for n in numbers]
        )
        self._constants = sizes + numbers
        self._packed = Struct(f"={len(sizes)}q{len(numbers)}d")
        self.addresses = Struct(f"={len(arrays)}q")

    def constants(self, given: dict[str, float]) -> bytes:
        """Return the part of a record behind the addresses."""
        return self._packed.pack(*[given[name] for name in self._constants])


class Launch:
    """A kernel with all arguments that stay from call to call: a call packs addresses only."""

    def __init__(self, kernel: Any, record: Record, constants: dict[str, Any]) -> None:
        self._kernel, self.tasks = kernel, constants["tasks"]
        self._pack, self._constants = record.addresses.pack, record.constants(constants)

    def __call__(self, *arrays: Tensor | None) -> None:
        """Run over tensors in the order of the record, None where there is nothing."""
        addresses = self._pack(*[0 if a is None else a.data_ptr() for a in arrays])
        run(self._kernel, addresses + self._constants, self.tasks)


@njit(parallel=True, nogil=True, cache=True)
def _run(kernel: int, arguments: int, tasks: int) -> None:
    for task in prange(tasks):
        call(kernel, np.int64(task), arguments)


def run(kernel: Any, arguments: bytes, tasks: int) -> None:
    """Call kernel(task, arguments) for all tasks."""
    record = ctypes.create_string_buffer(arguments, len(arguments))
    at = ctypes.addressof(record)
    threads = 1 if tasks == 1 else min(tasks, torch.get_num_threads(), MOST_THREADS)
    if threads <= 1:
        for task in range(tasks):
            kernel.ctypes(task, at)
    else:
        numba.set_num_threads(threads)
        _run(kernel.address, at, tasks)
