"""`python -m snnexp`: compose, validate, run. With -m, `snnexp.sweep` takes over."""

from __future__ import annotations

import logging
import os
import shlex
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from snnexp import process
from snnexp.config.compose import CONFIG_DIR, preflight, with_name
from snnexp.config.validate import ConfigError, validate
from snnexp.sweep.extras import check_launcher

log = logging.getLogger("snnexp")


def main() -> None:
    """Entry point of the command line."""
    process.prepare()
    words = sys.argv[1:]
    try:
        check_launcher(words)
        preflight([w for w in words if not w.startswith("-") and ("=" in w or w.startswith("~"))])
    except ConfigError as error:
        process.stop(error)
    _job()


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")
def _job(cfg: DictConfig) -> float:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from snnexp.data.base import DataError
    from snnexp.kernels.backend import BackendError
    from snnexp.models.base import SpecError
    from snnexp.report.record import RecordError
    from snnexp.run import run
    from snnexp.training.callbacks import TimeLimitError, TrainingDivergedError
    from snnexp.training.checkpoint import CheckpointError
    from snnexp.training.crew import LostPeerError, PeerError
    from snnexp.training.module import CheckpointMismatchError
    from snnexp.training.signals import StoppedError, requeue

    process.quiet_lightning()
    runtime = HydraConfig.get()
    try:
        frozen = validate(with_name(cfg, dict(runtime.runtime.choices)))
        return run(frozen)
    except PeerError:
        sys.exit(2)  # the process that met the error reports it
    except (
        *(ConfigError, DataError, SpecError, BackendError, TrainingDivergedError),
        *(CheckpointError, CheckpointMismatchError, RecordError, TimeLimitError),
        LostPeerError,
        MisconfigurationException,
    ) as error:
        process.stop(error)
    except OSError as error:
        process.stop_for_disk(error)  # met outside the files that say so themselves
    except StoppedError as stopped:
        log.warning("Stopped by %s. Go on with resume=auto", stopped)
        if stopped.requeue:
            requeue(os.environ)
        raise
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        log.warning("Interrupted. Go on with: python -m snnexp %s resume=auto", _overrides())
        sys.exit(130)
    raise AssertionError("unreachable")


def _overrides() -> str:
    return shlex.join(o for o in HydraConfig.get().overrides.task if not o.startswith("resume="))
