"""What a sweep is called and how it goes about finished and failed jobs: its own keys."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, ValidationError

from snnexp.config.validate import ConfigError
from snnexp.sweep.jobs import Job


class Plan(BaseModel):
    """The node `sweep` of a multirun's configuration.

    `redo`: `failed` keeps finished jobs and does the others again; `all` begins every job anew;
    `none` keeps failures as well, and does only what was cut or never begun.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None
    redo: Literal["failed", "all", "none"]
    over: list[str]


def plan_of(cfg: DictConfig) -> Plan:
    """Validate the node `sweep`; ConfigError names each key that is wrong."""
    node = cast(dict[str, Any], OmegaConf.to_container(cfg.sweep))
    try:
        plan = Plan.model_validate(node)
    except ValidationError as error:
        raise ConfigError(
            [
                f"sweep.{'.'.join(map(str, e['loc']))}: {e['msg']} (given: {e['input']!r})"
                for e in error.errors()
            ]
        ) from None
    if plan.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", plan.name):
        raise ConfigError(
            [f"sweep.name: given {plan.name!r}; expected letters, digits, '.', '_' and '-'"]
        )
    return plan


def default_name(jobs: Sequence[Job], overrides: Sequence[Override]) -> str:
    """Return `<name of the runs>-<8 digits>`: the same command has the same folder.

    The digits are a hash of the overrides in any order, without those of the sweep itself.
    """
    names = {job.name for job in jobs if job.name}
    first = re.sub(r"[^A-Za-z0-9._-]", "_", names.pop()) if len(names) == 1 else "mixed"
    lines = sorted(str(o.input_line) for o in overrides if not is_own(o))
    return f"{first}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"


def is_own(override: Override) -> bool:
    """Return whether an override speaks of the sweep and not of its runs."""
    return override.key_or_group.startswith("sweep.")
