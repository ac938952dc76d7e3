"""Packages that only some sweeps need: named before anything starts where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from snnexp.config.validate import ConfigError, near

#: launcher -> what it imports, and the extra of pyproject.toml that brings it
LAUNCHERS = {
    "basic": ("hydra", ""),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ""),
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("ray", "ray"),
}


def check_launcher(overrides: Iterable[str]) -> None:
    """Raise ConfigError where `hydra/launcher=<name>` is unknown or lacks its package."""
    for override in overrides:
        key, _, name = override.partition("=")
        if key != "hydra/launcher":
            continue
        if name not in LAUNCHERS:
            raise ConfigError([f"{override}: there is no such launcher. {near(name, LAUNCHERS)}"])
        require(override, *LAUNCHERS[name])


def require(what: str, package: str, extra: str) -> None:
    """Raise ConfigError where a package is not installed."""
    if find_spec(package) is None:
        raise ConfigError(
            [f'{what} needs the package {package}, which is missing: pip install "snnexp[{extra}]"']
        )
