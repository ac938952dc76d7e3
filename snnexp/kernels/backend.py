"""Which provider runs a kernel: `auto` picks by device, a provider named by hand never falls back.

| backend     | runs on                                | what it is                               |
|-------------|----------------------------------------|------------------------------------------|
| `reference` | any device                             | plain torch loop, the specification      |
| `cpu`       | CPU tensors                            | Numba, parallel over neurons             |
| `triton`    | nothing yet                            | refused by name until its kernels are in |
| `auto`      | any device                             | `cpu` on the CPU, elsewhere `reference`  |
"""

from __future__ import annotations

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
        by_device: dict[str, Provider] = {"cpu": "cpu"}
        backend = by_device.get(device.type, "reference")
    if backend == "cpu" and device.type != "cpu":
        raise BackendError(
            f"backend=cpu was asked for, but the tensors are on {device}; "
            f"use backend=auto or trainer.accelerator=cpu"
        )
    if backend == "triton":
        raise BackendError(
            "backend=triton was asked for, but this version has no Triton kernels yet; use "
            "backend=auto (Numba on the CPU, the plain torch loop elsewhere)"
        )
    return backend
