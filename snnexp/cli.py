"""`python -m snnexp`: compose, validate, run; return the number a sweeper optimises."""

from __future__ import annotations

import logging
import sys
import warnings

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.logging import RichHandler

from snnexp.config.compose import CONFIG_DIR, preflight, with_name
from snnexp.config.validate import ConfigError, validate
from snnexp.kernels import allocator

log = logging.getLogger("snnexp")


def main() -> None:
    """Entry point of the command line."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False, show_time=False)],
    )
    # lightning 2.6 with torch 2.14: nothing a user could mend
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
    words = sys.argv[1:]
    try:
        preflight([w for w in words if not w.startswith("-") and ("=" in w or w.startswith("~"))])
    except ConfigError as error:
        _stop(error)
    log.debug(allocator.keep_memory_warm())
    _job()


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")
def _job(cfg: DictConfig) -> float:
    from snnexp.data.base import DataError
    from snnexp.kernels.backend import BackendError
    from snnexp.models.base import SpecError
    from snnexp.run import run
    from snnexp.training.callbacks import TrainingDivergedError

    for chatty in ("lightning.pytorch", "lightning.fabric"):
        # only now: importing Lightning sets these to INFO
        logging.getLogger(chatty).setLevel(logging.WARNING)
    runtime = HydraConfig.get()
    try:
        frozen = validate(with_name(cfg, dict(runtime.runtime.choices)))
        return run(frozen)
    except (ConfigError, DataError, SpecError, BackendError, TrainingDivergedError) as error:
        if runtime.mode == RunMode.MULTIRUN:
            raise
        _stop(error)
    except KeyboardInterrupt:
        log.warning("Interrupted. Go on with: python -m snnexp %s resume=auto", _overrides())
        sys.exit(130)
    raise AssertionError("unreachable")


def _overrides() -> str:
    return " ".join(o for o in HydraConfig.get().overrides.task if not o.startswith("resume="))


def _stop(error: Exception) -> None:
    """Print what a user can mend without a traceback, and leave with status 2."""
    Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
    sys.exit(2)
