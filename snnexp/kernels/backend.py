"""Which provider runs a kernel: `auto` picks by device, a provider named by hand never falls back.

| backend     | runs on                                | what it is                               |
|-------------|----------------------------------------|------------------------------------------|
| `reference` | any device                             | plain torch loop, the specification      |
| `cpu`       | CPU tensors                            | Numba, parallel over neurons             |
| `triton`    | CUDA tensors; CPU with the interpreter | Triton, one program a block of neurons   |
| `auto`      | any device                             | `cpu`, `triton`, elsewhere `reference`   |
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal, get_args

import torch

Backend = Literal["auto", "reference", "cpu", "triton"]
Provider = Literal["reference", "cpu", "triton"]


class BackendError(RuntimeError):
    """A backend that cannot run here; the message says what to change."""


def resolve(backend: Backend, device: torch.device) -> Provider:
    """Return the provider that runs tensors of `device`, or raise `BackendError`."""
    if backend not in get_args(Backend):
        raise BackendError(f"backend={backend!r}, expected one of {', '.join(get_args(Backend))}")
    if backend == "auto":
        by_device: dict[str, Provider] = {"cpu": "cpu", "cuda": "triton"}
        backend = by_device.get(device.type, "reference")
    if backend == "cpu" and device.type != "cpu":
        raise BackendError(
            f"backend=cpu was asked for, but the tensors are on {device}; "
            f"use backend=auto or trainer.accelerator=cpu"
        )
    if backend == "triton":
        _require_triton(device)
    return backend


def _require_triton(device: torch.device) -> None:
    if find_spec("triton") is None:
        raise BackendError(
            "backend=triton needs the package triton, which comes with the CUDA builds of torch "
            "for Linux; install such a torch or use backend=reference"
        )
    interpreted = os.environ.get("TRITON_INTERPRET", "0") == "1"
    if device.type == "cpu" and not interpreted:
        raise BackendError(
            "backend=triton was asked for, but the tensors are on the CPU; move them to a CUDA "
            "device, use backend=auto, or set TRITON_INTERPRET=1 before triton is imported to run "
            "the kernels in Triton's (slow) interpreter"
        )
    if device.type not in ("cpu", "cuda"):
        raise BackendError(
            f"backend=triton runs on CUDA tensors, these are on {device}; use backend=auto"
        )
