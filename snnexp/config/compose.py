"""Compose configurations outside `hydra.main`, and explain override mistakes in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from snnexp.config.validate import ConfigError, near

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs"


def compose_config(overrides: Sequence[str] = (), root: str = "config") -> DictConfig:
    """Compose the configuration of a run for `overrides`, with `name` filled in.

    `root` is the yaml at its root; the other ones are evaluate and predict.

    Raises ConfigError for a group, option or key that does not exist.
    """
    try:
        with _hydra():
            cfg = compose(root, list(overrides), return_hydra_config=True)
    except HydraException as error:
        raise explained(error, overrides, root) from error
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        cfg.pop("hydra")
    return with_name(cfg, choices) if root == "config" else cfg


def settings_of(words: Sequence[str], root: str) -> list[list[str]]:
    """Return the overrides of each setting that a command line asks for.

    A key with several values (`corrupt.sigma=0,0.1`, `corrupt.p=range(0,1,0.2)`) gives a setting
    for each; one key can have several. Raises ConfigError for words that are no overrides.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise ConfigError([f"override not understood: {_first_line(error)}"]) from error
    swept = [o for o in parsed if o.is_sweep_override()]
    if not swept:
        return [list(words)]
    if len(swept) > 1:
        keys = ", ".join(o.key_or_group for o in swept)
        raise ConfigError([f"{keys}: one key at a time can have several values"])
    rest = [o.input_line for o in parsed if o is not swept[0] and o.input_line]
    values = [str(v) for v in swept[0].sweep_string_iterator()]
    return [[*rest, f"{swept[0].key_or_group}={value}"] for value in values]


def quoted(word: str, keys: Sequence[str]) -> str:
    """Quote the value of `key=value` where it is a path: Hydra's grammar has uses for ( , and =."""
    key, equals, value = word.partition("=")
    if not equals or key not in keys or not value or value[0] in "'\"" or value == "null":
        return word
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _hydra() -> AbstractContextManager[Any]:
    """Hydra, ready to compose; inside `hydra.main` the one that is at work."""
    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    return initialize_config_dir(str(CONFIG_DIR), version_base="1.3")


def with_name(cfg: DictConfig, choices: dict[str, Any]) -> DictConfig:
    """Fill `name` from the experiment, or from task and model; leave out the keys of sweeps."""
    with open_dict(cfg):
        cfg.pop("sweep", None)
    if cfg.name is None:
        experiment = choices.get("experiment")
        cfg.name = experiment or f"{choices['task']}-{choices['model']}"
    return cfg


def explained(error: HydraException, overrides: Sequence[str], root: str = "config") -> ConfigError:
    """Return what Hydra could not compose as problems in plain words, with near misses."""
    return ConfigError(list(_explain(error, overrides, root)))


def preflight(overrides: Sequence[str]) -> None:
    """Raise ConfigError for overrides that cannot compose, before Hydra reports them its own way.

    Of a sweep (`seed=0,1,2`, `model=a,b`) only overrides with one value are looked at here; the
    sweeper composes and validates each job before the first one starts.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError([f"override not understood: {_first_line(error)}"]) from error
    compose_config([o.input_line for o in parsed if o.input_line and _single(o)])


def _single(override: Override) -> bool:
    key = override.key_or_group
    return (
        not override.is_sweep_override()
        and (not key.startswith("hydra") or key == "hydra.searchpath")
        and bool(override.input_line)
    )


def _explain(error: HydraException, overrides: Sequence[str], root: str) -> Iterator[str]:
    """Turn Hydra's composition error into problems with near misses."""
    text = str(error)
    if missing := re.search(r"Could not find '([\w\-]+)/([^']+)'", text):
        group, option = missing.groups()
        meant = near(option, options(group))
        yield f"{group}={option}: there is no configs/{group}/{option}.yaml. {meant}"
    elif no_group := re.search(r"Could not override '([^']+)'\.\s*No match in the defaults", text):
        key = no_group.group(1)
        yield f"{key}: no such key or group. {near(key.split('@')[0], _known_keys(root))}"
    elif unknown := re.search(r"Could not override '([^']+)'", text):
        key = unknown.group(1)
        yield f"{key}: no such key. {_near_key(key, overrides, root)}"
    else:
        yield _first_line(error)


def _near_key(key: str, overrides: Sequence[str], root: str) -> str:
    """Near misses of a dotted key among all keys of the configuration the user meant."""
    groups = [
        o
        for o in overrides
        if (re.match(r"[\w/@.]+=[\w\-]+$", o) and _is_group(o)) or o.startswith("hydra.searchpath")
    ]
    known = _known_keys(root, groups)
    candidates = [k for k in known if k.split(".")[0] == key.split(".")[0]] or known
    return near(key, candidates)


def _is_group(override: str) -> bool:
    return (CONFIG_DIR / override.split("=")[0].split("@")[0]).is_dir()


def _known_keys(root: str, groups: Sequence[str] = ()) -> list[str]:
    with _hydra():
        cfg = compose(root, list(groups))
    return sorted(_flatten(OmegaConf.to_container(cfg, resolve=False)))


def _flatten(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            inner = f"{path}.{key}" if path else str(key)
            if not str(key).startswith("_"):
                yield inner
            yield from _flatten(value, inner)


def options(group: str) -> list[str]:
    """List the yaml files of a group."""
    return sorted(p.stem for p in (CONFIG_DIR / group).glob("*.yaml"))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
