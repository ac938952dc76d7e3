"""Facts of the code and the machine, for `result.json`."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from snnexp.report.record import Code, Environment

#: packages whose version can move a result
PACKAGES = (
    "snnexp", "torch", "lightning", "torchmetrics", "hydra-core", "numpy", "scipy", "numba",
    "triton", "librosa", "torchaudio",
)  # fmt: skip
#: written by runs and reports themselves: a change there is no change of the code
NOT_CODE = (":(exclude)outputs", ":(exclude)README.md")
#: files not yet under version control that are code; others may be a run's own
CODE = ("snnexp/*.py", "tasks/*.py", "configs/*.yaml", "hydra_plugins/*.py")


def code_state() -> Code:
    """Return the commit of this code and whether files differ from it (untracked ones included)."""
    here = Path(__file__).resolve().parent
    root = _git(here, "rev-parse", "--show-toplevel")
    # a git repository that merely contains the installed package says nothing of this code
    if root is None or _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return Code(commit=None, dirty=None)
    status = _git(Path(root), "status", "--porcelain", "--", ".", *NOT_CODE)
    dirty = status != ""
    return Code(
        commit=_git(here, "rev-parse", "HEAD"),
        dirty=dirty,
        changes=_changes(Path(root)) if dirty else None,
    )


def _changes(root: Path) -> str:
    """Return a digest of all that differs from the commit; of new files, those that are code."""
    digest = hashlib.sha256((_git(root, "diff", "HEAD", "--", ".", *NOT_CODE) or "").encode())
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", *CODE) or ""
    for name in new.splitlines():
        digest.update(name.encode())
        with suppress(OSError):  # removed since it was listed
            digest.update((root / name).read_bytes())
    return digest.hexdigest()[:16]


def _git(folder: Path, *args: str) -> str | None:
    """Return what git prints, or None where it cannot answer (no git, no repository)."""
    try:
        done = subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def environment(
    device: torch.device,
    *,
    backend: str,
    precision: str,
    world_size: int,
    global_batch: int | None = None,
) -> Environment:
    """Return versions and hardware; `backend` names the providers in use."""
    return Environment(
        versions=_versions(),
        platform=platform.platform(),
        cpu=_cpu_model(),
        cpu_count=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=str(device),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        world_size=world_size,
        global_batch=global_batch,
        backend=backend,
        precision=precision,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    # the package's metadata do not say which build it is (2.9.0+cpu)
    return found | {"torch": torch.__version__}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> tuple[int, int | None]:
    """Return the peak memory in bytes: of this process, and of torch on a CUDA device."""
    host = _peak_rss()
    gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return host, gpu


def _peak_rss() -> int:
    """Return the most memory this process held, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count what a parent held when it started this process
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts in bytes, others in KiB
    return peak if sys.platform == "darwin" else peak * 1024
