"""The jobs of a sweep: overrides with several values, multiplied out, composed and validated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from snnexp.config.compose import explained, with_name
from snnexp.config.validate import ConfigError, validate
from snnexp.report.folder import config_hash

#: composes and validates the configuration of a job, given its overrides
Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep: how it is called for, and what it is.

    `varied` holds the swept keys with this job's values. `problem` says why the configuration
    cannot be run; such a job has no `digest`.
    """

    number: int
    overrides: tuple[str, ...]
    varied: dict[str, str]
    name: str = ""
    seed: int = 0
    digest: str = ""
    problem: str | None = None

    @property
    def key(self) -> str:
        """Two jobs of one key are one run."""
        return f"{self.name}-seed{self.seed}-{self.digest[:12]}" if self.digest else ""

    @property
    def label(self) -> str:
        """What sets this job apart from the others."""
        return " ".join(f"{k}={v}" for k, v in self.varied.items()) or " ".join(self.overrides)


def given(params: Mapping[str, Any], arguments: Sequence[str]) -> list[Override]:
    """Return the overrides of a sweep file and the command line; the latter replaces the former.

    Raises ConfigError for one that cannot be parsed.
    """
    for key, value in params.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(
                [
                    f"hydra.sweeper.params.{key}: given {value!r}; a text is expected, as on the "
                    f"command line: {key}: 0,1,2 or range(5) or [1,2],[3,4]"
                ]
            )
    lines = [*(f"{key}={value}" for key, value in params.items()), *arguments]
    try:
        parsed = OverridesParser.create().parse_overrides(lines)
    except HydraException as error:
        raise ConfigError([f"override not understood: {str(error).splitlines()[0]}"]) from error
    return list({o.get_key_element(): o for o in parsed}.values())


def expand(overrides: Sequence[Override], compose: Compose) -> list[Job]:
    """Return a job for every combination of values, in the order typed.

    A configuration that the validation refuses becomes a job with a problem. Raises ConfigError
    where all are refused, or an option that does not exist is named: that is a slip of the pen,
    and no job shall start.
    """
    jobs = multiply(overrides, compose)
    problems = _lines([job.problem for job in jobs if job.problem])
    if all(job.problem for job in jobs):
        raise ConfigError(problems)
    if slips := [line for line in problems if "there is no configs/" in line]:
        raise ConfigError(slips)
    return jobs


def multiply(overrides: Sequence[Override], compose: Compose, first: int = 1) -> list[Job]:
    """Compose and validate a job for every combination of values, numbered from `first`."""
    jobs = []
    choices = [list(_choices(o)) for o in overrides]
    for number, combination in enumerate(itertools.product(*choices), start=first):
        varied = dict(swept for _, swept in combination if swept is not None)
        jobs.append(make_job(number, [line for line, _ in combination], varied, compose))
    return jobs


def make_job(
    number: int, overrides: Sequence[str], varied: dict[str, str], compose: Compose
) -> Job:
    """Compose and validate one job."""
    try:
        cfg = compose(overrides)
    except ConfigError as error:
        return Job(number, tuple(overrides), varied, problem="\n".join(error.problems))
    config = cast(dict[str, Any], OmegaConf.to_container(cfg))
    return Job(number, tuple(overrides), varied, cfg.name, cfg.seed, config_hash(config))


def composer(loader: ConfigLoader, master: DictConfig) -> Compose:
    """Return what composes a job as the launchers will, then validates it."""

    def compose(overrides: Sequence[str]) -> DictConfig:
        try:
            cfg = loader.load_sweep_config(master, list(overrides))
        except HydraException as error:
            hydra = OmegaConf.to_container(master.hydra.overrides.hydra)
            raise explained(error, [*cast(list[str], hydra), *overrides]) from error
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            cfg.pop("hydra")
        return validate(with_name(cfg, choices))

    return compose


def _choices(override: Override) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Yield each value of an override as an override, and what it varies, if anything."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        yield str(override.input_line), None
        return
    if not override.is_discrete_sweep():
        raise ConfigError(
            [
                f"{override.input_line}: a grid needs single values (a,b,c or range(...)); "
                "intervals are for a search: sweep=optuna_..."
            ]
        )
    for value in override.sweep_string_iterator():
        yield f"{key}={value}", (key.lstrip("+~"), value)


def _lines(problems: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(line for p in problems for line in p.split("\n")))
