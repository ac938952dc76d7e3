"""What a configuration found in a run's folder may build: a stranger may have written the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from snnexp.config.validate import ConfigError, check_nodes, locate

#: nodes that are built to test or to predict; a run's others (trainer, loggers) are not
BUILT = ("task", "model", "loss", "rule")
#: where the target of such a node itself may live
HOMES = {
    "task": ("tasks.",),
    "model": ("snnexp.models.",),
    "loss": ("snnexp.losses.", "snnexp.depth_loss.", "snnexp.training."),
    "rule": ("snnexp.training.",),
}
#: where the targets of nodes below them may live
INNER = (
    *(f"snnexp.{name}." for name in ("data", "losses", "depth_loss", "metrics", "neurons")),
    *("snnexp.surrogates.", "tasks.", "torch.nn.modules."),
)


def read_config(path: Path, trust: bool) -> dict[str, Any]:
    """Return the resolved configuration of a run, whose `BUILT` nodes are safe and valid.

    Without `trust` every `_target_` must be a public class or function that is defined in snnexp
    or tasks, or a layer of torch.nn; names are checked before anything is imported. Raises
    ConfigError with all problems.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; run=<folder> is the folder of a run"]) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}"]) from None
    if not isinstance(config, dict) or not all(isinstance(config.get(k), dict) for k in BUILT):
        raise ConfigError([f"{path} is no run's configuration: it lacks {', '.join(BUILT)}"])
    if not trust:
        problems = [p for key in BUILT for p in _untrusted(config[key], key, HOMES[key])]
        if problems:
            raise ConfigError(
                [*problems, f"nothing was built. If you trust {path}, add trust=true"]
            )
    if problems := check_nodes({key: config[key] for key in BUILT}):
        raise ConfigError([f"{path} does not fit this version of snnexp:", *problems])
    return config


def _untrusted(node: Any, path: str, homes: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield from _target_problem(node["_target_"], path, homes)
        if "_args_" in node:
            yield f"{path}._args_: no run writes positional arguments"
        for key, value in node.items():
            yield from _untrusted(value, f"{path}.{key}", INNER)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _untrusted(value, f"{path}[{i}]", INNER)
    elif isinstance(node, str) and "${" in node:
        yield f"{path}: {node!r} is an interpolation; a run writes resolved values"


def _target_problem(name: Any, path: str, homes: tuple[str, ...]) -> Iterator[str]:
    # torch.nn.Tanh is what torch.nn.modules.activation.Tanh is called
    outer = (*homes, "torch.nn.") if homes is INNER else homes
    if not isinstance(name, str) or not name.startswith(outer) or "._" in name:
        yield f"{path}._target_: {name!r} is not of {', '.join(homes)}"
        return
    try:
        found = locate(name)
    except (ImportError, AttributeError) as error:
        yield f"{path}._target_: cannot import {name!r}: {error}"
        return
    # snnexp.report.environment.subprocess.run begins well, and is subprocess.run
    home = f"{getattr(found, '__module__', None)}."
    if not home.startswith(homes) or not hasattr(found, "__qualname__"):
        yield f"{path}._target_: {name!r} leads to {home}, which is not of {', '.join(homes)}"
