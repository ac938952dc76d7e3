"""The memory of a process that computes."""

import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
from snnexp.kernels import allocator
print(allocator.set_up())
import torch
held = torch.ones(2**24)
pages = [line.split()[1] for line in open("/proc/self/smaps_rollup") if "AnonHugePages" in line]
print(int(pages[0]) * 1024 >= held.nbytes // 2)
"""


@pytest.mark.skipif(
    not SUPPORT.is_file() or "[never]" in SUPPORT.read_text(), reason="no huge pages here"
)
def test_large_tensors_of_a_process_so_set_up_lie_in_huge_pages():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    said, huge = done.stdout.splitlines()
    assert "THP_MEM_ALLOC_ENABLE=1" in said
    assert huge == "True"
