"""The fixed part of a run's configuration: the keys at its root.

What Hydra builds (task, model, loss, ...) has no schema here: the constructor's signature is its
schema, and `validate` reads it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from snnexp.report.record import Paper

Node = dict[str, Any]


class Root(BaseModel):
    """Every key that may stand at the root of a configuration."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None
    seed: int = Field(ge=0, lt=2**31)
    data: Literal["sample", "real"]
    data_dir: str
    cache_dir: str
    output_dir: str
    backend: Literal["auto", "reference", "cpu", "triton"]
    select_on: Literal["val", "test"]
    deterministic: bool
    resume: str | None
    paper: Paper | None
    task: Node
    model: Node
    loss: Node
    optimizer: Node
    scheduler: Node
    rule: Node
    trainer: Node
    logger: Node
    callbacks: Node


class _OfRun(BaseModel):
    """Keys of the commands that take up a finished run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str
    checkpoint: str
    data_dir: str | None
    cache_dir: str | None
    backend: Literal["auto", "reference", "cpu", "triton"] | None
    accelerator: str
    trust: bool


class EvaluateRoot(_OfRun):
    """Every key of `python -m snnexp.evaluate`."""

    data: Literal["sample", "real"] | None
    seed: int = Field(ge=0, lt=2**31)
    corrupt: Node


class PredictRoot(_OfRun):
    """Every key of `python -m snnexp.predict`."""

    input: str
    output: str | None
    start: float | None
    stop: float | None
    index: int | None
