"""Which provider runs a kernel: `auto` picks by device, a provider named by hand never falls back.

| backend     | runs on                                      | what it is                          |
|-------------|----------------------------------------------|-------------------------------------|
| `reference` | any device                                   | plain torch loop, the specification |
| `cpu`       | CPU tensors                                  | Numba, parallel over neurons        |
| `triton`    | CUDA tensors; CPU tensors in the interpreter | Triton, a thread for a few neurons  |
| `auto`      | any device                                   | see below                           |

`auto` is `cpu` on the CPU, `triton` on an NVIDIA GPU where the package triton is installed, and
`reference` elsewhere: on ROCm, too, where the Triton kernels were never run; backend=triton by
name runs them there. With TRITON_INTERPRET=1 in the environment before Triton is imported, its
kernels run on CPU tensors, slowly, without a GPU.

The lateral reset has no `triton`: under `auto` it runs as `reference` where the tensors are not on
the CPU, and the run's record then names both providers.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal, get_args

import torch

Backend = Literal["auto", "reference", "cpu", "triton"]
Provider = Literal["reference", "cpu", "triton"]

TRITON_INSTALLED = find_spec("triton") is not None
IS_ROCM = torch.version.hip is not None


class BackendError(RuntimeError):
    """A backend that cannot run here; the message says what to change."""


def resolve(backend: Backend, device: torch.device) -> Provider:
    """Return the provider that runs tensors of `device`, or raise `BackendError`."""
    if device.type == "cpu" and backend in ("auto", "cpu"):
        return "cpu"
    if backend not in get_args(Backend):
        raise BackendError(f"backend={backend!r}, expected one of {', '.join(get_args(Backend))}")
    if backend == "auto":
        return (
            "triton" if device.type == "cuda" and TRITON_INSTALLED and not IS_ROCM else "reference"
        )
    if backend == "cpu":
        raise BackendError(
            f"backend=cpu was asked for, but the tensors are on {device}; "
            f"use backend=auto or trainer.accelerator=cpu"
        )
    if backend == "triton":
        _check_triton(device)
    return backend


def _check_triton(device: torch.device) -> None:
    if not TRITON_INSTALLED:
        raise BackendError(
            "backend=triton was asked for, but the package triton is not installed (torch for "
            "CUDA on Linux brings it; else pip install triton); use backend=auto or reference"
        )
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise BackendError(
            f"backend=triton was asked for, but the tensors are on {device}; use backend=auto or "
            "trainer.accelerator=gpu, or set TRITON_INTERPRET=1 to run the kernels in Triton's "
            "slow interpreter"
        )
