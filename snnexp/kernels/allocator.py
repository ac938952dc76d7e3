"""Keep freed memory warm, so that outputs of a CPU run cost no page faults.

glibc gives large blocks back to the system as soon as they are freed, and the next tensor of that
size is faulted in page by page: at two million neurons that costs more than the kernels
themselves. `keep_memory_warm` makes glibc keep what it once got. It is a setting of the whole
process, so the command line calls it once, at the start; importing this module does nothing.
"""

from __future__ import annotations

import ctypes
import platform

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


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
