"""Memory for the outputs of a CPU run, without a page fault for each 4 KiB of it.

glibc gives large blocks back to the system as soon as they are freed, and the next tensor of that
size is faulted in page by page: at two million neurons that costs more than the kernels
themselves. Two things help:

- `empty_like` and `in_huge_pages` ask for huge pages under a large output: a 512th of the faults,
  in any process;
- `keep_memory_warm` makes glibc keep what it once got: no faults. It is a setting of the whole
  process: the command line calls it once, at the start; importing this module does nothing.

torch can ask for huge pages under all its large tensors (THP_MEM_ALLOC_ENABLE). Beside kept memory
that brought nothing in whole steps here, and made the first ones take half as long again.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# Advice of madvise(2), and the size of a huge page.
MADV_HUGEPAGE, HUGE = 14, 2**21


def keep_memory_warm() -> str:
    """Tell glibc never to map large blocks and never to trim the heap; return what was done.

    Memory then never shrinks before the process ends; its peak is the same. On other C libraries
    nothing is changed.
    """
    library, version = platform.libc_ver()
    if library != "glibc":
        return f"allocator unchanged: the C library is {library or 'not glibc'}"
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1)):
        return f"allocator unchanged: glibc {version} refused mallopt"
    return f"freed memory is kept (glibc {version}: no mmap for large blocks, no trimming)"


def empty_like(x: Tensor) -> Tensor:
    """Return `torch.empty_like(x)`, a large one in huge pages where Linux has them."""
    made = torch.empty_like(x)
    return in_huge_pages(made) if made.nbytes >= 2 * HUGE else made


def in_huge_pages(made: Tensor) -> Tensor:
    """Return a new tensor; a large one is in huge pages where Linux has them."""
    if made.nbytes >= 2 * HUGE and (advise := _madvise()):
        begin = -(-made.data_ptr() // HUGE) * HUGE
        # only advice: the memory is as good without it
        advise(begin, (made.data_ptr() + made.nbytes - begin) // HUGE * HUGE, MADV_HUGEPAGE)
    return made


@lru_cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if platform.system() != "Linux":
        return None
    madvise: Any = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    advise: Callable[[int, int, int], int] = madvise
    return advise
