"""Where Hydra looks for plugins: it takes sweepers and launchers from this namespace only.

Hydra imports this file whenever it starts: everything heavy is imported when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class Grid(Sweeper):
    """`hydra/sweeper=grid`: every combination (`snnexp.sweep.grid`)."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = dict(params)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives."""
        self.hydra_context = hydra_context
        self.config = config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep; leave with a status that is not 0 if a job failed."""
        from snnexp.sweep.grid import sweep

        status = sweep(self.hydra_context, self.config, self.params, arguments)
        if status:
            sys.exit(status)


class Search(Grid):
    """`sweep=optuna`: a search by Optuna (`snnexp.sweep.search`)."""

    def __init__(self, params: dict[str, Any], **options: Any) -> None:
        super().__init__(params)
        self.options = options

    def sweep(self, arguments: list[str]) -> None:
        """Run the search; leave with a status that is not 0 if a job failed."""
        from snnexp import process
        from snnexp.config.validate import ConfigError
        from snnexp.sweep.extras import require

        try:
            require("a search", "optuna", "optuna")
        except ConfigError as error:
            process.stop(error)
        from snnexp.sweep.search import Options, search

        status = search(
            self.hydra_context, self.config, self.params, arguments, Options(**self.options)
        )
        if status:
            sys.exit(status)


class RayLauncher(Launcher):
    """`hydra/launcher=ray`: each job a task of a Ray cluster (`snnexp.sweep.ray_launcher`)."""

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        self.init, self.remote = OmegaConf.to_container(init), OmegaConf.to_container(remote)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and wait for them."""
        from snnexp.sweep.ray_launcher import launch

        return launch(
            self.hydra_context,
            self.task_function,
            self.config,
            job_overrides,
            initial_job_idx,
            init=self.init,
            remote=self.remote,
        )
