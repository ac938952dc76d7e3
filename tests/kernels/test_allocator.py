"""The memory of a process that computes."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path("/sys/kernel/mm/transparent_hugepage/enabled")
IN_HUGE_PAGES = """
import torch
from snnexp.kernels.allocator import empty_like
held = empty_like(torch.empty(2**24)).fill_(1)
pages = [line.split()[1] for line in open("/proc/self/smaps_rollup") if "AnonHugePages" in line]
print(int(pages[0]) * 1024 >= held.nbytes // 2)
"""
FAULTS = """
import resource, sys
import torch
from snnexp.kernels.allocator import keep_memory_warm
if sys.argv[1] == "kept":
    assert "freed memory is kept" in keep_memory_warm()
torch.ones(2**25)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def output(program, *args):
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(
    not SUPPORT.is_file() or "[never]" in SUPPORT.read_text(), reason="no huge pages here"
)
def test_large_outputs_lie_in_huge_pages():
    assert output(IN_HUGE_PAGES) == "True"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
def test_kept_memory_is_faulted_in_once():
    # 64 MiB are 16,384 pages, or 32 where the system makes all of them huge
    assert int(output(FAULTS, "given back")) >= 32
    assert int(output(FAULTS, "kept")) < 16
