"""What the tests of all image tasks share: build a task from its yaml, as a run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from snnexp.config.compose import compose_config
from snnexp.config.validate import validate


def make(task: str, cache: Path, *words: str) -> Any:
    """Compose, validate and build a task; prepare and set it up."""
    built = build(task, cache, *words)
    built.prepare_data()
    built.setup()
    return built


def build(task: str, cache: Path, *words: str) -> Any:
    """Compose, validate and build a task."""
    cfg = validate(compose_config([f"task={task}", f"cache_dir={cache}", *words]))
    return instantiate(cfg.task, _convert_="all")


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
