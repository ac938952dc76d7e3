"""What a process needs that computes runs: logging, quiet libraries, a way to stop."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from snnexp.kernels import allocator
from snnexp.report.atomic import DISK


def prepare() -> None:
    """Set up logging, unless it is already, and memory."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False, show_time=False)],
    )
    # lightning 2.6 with torch 2.14: nothing a user could mend
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
    # what the module logs is of all processes already
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
    logging.getLogger("snnexp").debug(allocator.keep_memory_warm())


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Begin every line logged with `prefix`: which of several jobs speaks."""
    handlers = logging.getLogger().handlers
    before = [(handler, handler.formatter) for handler in handlers]
    for handler in handlers:
        handler.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    try:
        yield
    finally:
        for handler, formatter in before:
            handler.setFormatter(formatter)


def quiet_lightning() -> None:
    """Keep Lightning to warnings; to be called after its import, which sets it to INFO."""
    for chatty in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def answering() -> Iterator[None]:
    """Run a command on a finished run; what a user can mend is said without a traceback."""
    from snnexp.config.validate import ConfigError
    from snnexp.data.base import DataError
    from snnexp.kernels.backend import BackendError
    from snnexp.models.base import SpecError
    from snnexp.report.record import RecordError
    from snnexp.training.checkpoint import CheckpointError
    from snnexp.training.module import CheckpointMismatchError

    prepare()
    quiet_lightning()
    try:
        yield
    except (
        *(ConfigError, DataError, SpecError, BackendError, RecordError),
        *(CheckpointError, CheckpointMismatchError),
    ) as error:
        stop(error)
    except OSError as error:
        stop_for_disk(error)


def stop_for_disk(error: OSError) -> NoReturn:
    """Say of a full or read-only disk where it is, and leave; other errors are passed on."""
    if error.errno not in DISK:
        raise error
    where = error.filename or "the disk"
    reason = f"{where}: {error.strerror}. Free some space, or choose a place you can write to"
    stop(OSError(reason))


def stop(error: Exception) -> NoReturn:
    """Print what a user can mend without a traceback, and leave with status 2."""
    said = "\n".join([str(error), *getattr(error, "__notes__", ())])
    text = f"[bold red]error:[/] {escape(said)}"
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
    sys.exit(2)
