"""The processes of one run: they start, agree, and stop together."""

from __future__ import annotations

import atexit
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ParallelStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnexp.config.validate import ConfigError
from snnexp.report.record import Interrupted

T = TypeVar("T")
#: what gloo and NCCL say when a process at the other end of a connection has ended
_LOST = re.compile("(closed|reset) by peer|Broken pipe|ncclRemoteError")


class PeerError(RuntimeError):
    """Another process of the run has stopped with an error, which it reports itself."""


class LostPeerError(Interrupted):
    """Another process of the run is gone without a word: killed, or out of memory."""


@contextmanager
def naming_losses() -> Iterator[None]:
    """Say plainly that a process is gone, where gloo and NCCL only speak of a connection."""
    try:
        yield
    except RuntimeError as error:
        if not _LOST.search(str(error)):
            raise
        raise LostPeerError(
            "another process of this run is gone (killed, or out of memory?); resume=auto goes on"
        ) from error


class Crew:
    """All processes of a run, as one of them sees it.

    Making it starts the other processes of this machine (each repeats the command line), unless
    torchrun or Slurm started them, and connects all. One process is a crew, too.

    Raises ConfigError where the launcher's processes do not fit trainer.devices and num_nodes, and
    in a sweep, whose jobs have no command line that could be repeated.
    """

    def __init__(self, trainer: L.Trainer, sweeping: bool = False) -> None:
        strategy = trainer.strategy
        self._group: Any = None
        if isinstance(strategy, ParallelStrategy):
            environment = strategy.cluster_environment
            assert environment is not None
            if sweeping and trainer.world_size > 1 and not environment.creates_processes_externally:
                raise ConfigError(
                    [
                        f"trainer.devices: a job of a sweep (-m) cannot start {trainer.world_size} "
                        "processes itself. Let Slurm start them (hydra/launcher=slurm), or loop "
                        "over single runs in the shell"
                    ]
                )
            try:
                if strategy.launcher is None:
                    strategy.setup_environment()
                else:
                    strategy.launcher.launch(strategy.setup_environment, trainer=trainer)
            except ValueError as error:
                raise ConfigError([f"trainer.devices, trainer.num_nodes: {error}"]) from error
            # torch's threads, met running at exit, would abort the process after its work is done
            atexit.register(leave)
            # one process may download for hours while the others wait
            self._group = dist.new_group(backend="gloo", timeout=timedelta(days=10000))
        self.rank, self.size = trainer.global_rank, trainer.world_size
        self.first, self.first_here = self.rank == 0, trainer.local_rank == 0
        if not self.first:
            # what they would say, the first one says
            logging.getLogger("snnexp").setLevel(logging.ERROR)

    def agree(self, work: Callable[[], T], here: bool = True) -> T:
        """Do `work` in this process, if `here`; where it fails in one process, all raise.

        The first process that failed raises its own error, the others PeerError: the error is
        reported once. Returns what `work` returned in this process, None where it was not done.
        """
        if self._group is None:
            return work()
        value: Any = None
        failed: Exception | None = None
        if here:
            try:
                value = work()
            except Exception as error:
                failed = error
        said: list[str | None] = [None] * self.size
        mine = None if failed is None else f"{type(failed).__name__}: {failed}"
        dist.all_gather_object(said, mine, self._group)
        for rank, text in enumerate(said):
            if rank == self.rank and failed is not None:
                raise failed
            if text is not None:
                raise PeerError(f"process {rank} stopped: {text}")
        return cast(T, value)

    def tell(self, value: T) -> T:
        """Return the first process's `value` in every process."""
        told: list[Any] = [value]
        if self._group is not None:
            dist.broadcast_object_list(told, 0, self._group)
        return cast(T, value if self.first else told[0])


def leave() -> None:
    """End the connection to the other processes, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def check_batch_norm(model: nn.Module, synchronised: bool, device: torch.device) -> None:
    """Raise ConfigError where batch statistics are to be synchronised, but torch cannot do it."""
    # torch exports no other name for the base of its batch norms
    norms = [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]
    if synchronised and norms and device.type == "cpu":
        raise ConfigError(
            [
                f"trainer.sync_batchnorm: torch cannot synchronise batch norm ({norms[0]}, ...) "
                "over CPU processes. Give trainer.sync_batchnorm=false: each process then "
                "normalises by its own share of the batch, which is another training than that of "
                "one process"
            ]
        )
