"""The fixed part of a run's configuration: the root keys and the paper block.

What Hydra builds (task, model, loss, ...) has no schema here: the constructor's signature is its
schema, and `validate` reads it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Node = dict[str, Any]


class Paper(BaseModel):
    """What a paper claims, under which protocol, and in what we knowingly differ."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str
    title: str
    where: str  #: table, figure, abstract
    metric: str
    claimed: float | None
    spread: float | None = None
    tolerance: float | None = None
    protocol: Literal["authors", "strict", "ours"]
    selection: str = ""
    data: str = ""
    deviations: list[str] = Field(default_factory=list)


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
