"""TensorBoard and Weights & Biases beside metrics.csv, with the figures of a run in them."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

log = logging.getLogger("snnexp")


def tensorboard(folder: Path, name: str) -> TensorBoardLogger:
    """Return a logger that writes to `<folder>/tensorboard`, for tensorboard --logdir."""
    return TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)


def wandb(folder: Path, name: str, *, project: str, entity: str | None) -> WandbLogger:
    """Return a Weights & Biases logger; offline where no key is set (environment, netrc)."""
    offline = os.environ.get("WANDB_MODE", "") == "offline" or not _has_key()
    if offline:
        log.info(
            "wandb: no key found, logging offline; later: wandb sync %s/wandb/offline-*", folder
        )
    return WandbLogger(
        save_dir=folder, name=name, project=project, entity=entity, offline=offline, log_model=False
    )


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


@contextmanager
def closing(loggers: Sequence[Logger], config: Mapping[str, Any]) -> Iterator[None]:
    """Give loggers the configuration, and close them at the end, however it comes.

    An open Weights & Biases run would take in the figures of the next run of a sweep.
    """
    for logger in loggers:
        logger.log_hyperparams(dict(config))
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            # a logger that nothing was logged to must not begin now
            if getattr(logger, "_experiment", None) is None:
                continue
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(failed))
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.close()


def log_figures(loggers: Iterable[Logger], paths: Iterable[Path]) -> None:
    """Put finished figures into every logger that takes pictures."""
    pictures = list(paths)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            for path in pictures:
                image = matplotlib.image.imread(path)
                logger.experiment.add_image(path.stem, image, dataformats="HWC")
            logger.experiment.flush()
        elif isinstance(logger, WandbLogger):
            for path in pictures:
                logger.log_image(path.stem, [str(path)])
