"""The jobs of a sweep as tasks of a Ray cluster, each in a process of its own.

Every machine must see this code, the data and `output_dir` under the same paths (a shared file
system). hydra-ray-launcher 1.2 would do the same, but holds cloudpickle below 3 and brings boto3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

ROOT = Path(__file__).resolve().parents[2]


def launch(
    context: HydraContext,
    function: TaskFunction,
    master: DictConfig,
    jobs: Sequence[Sequence[str]],
    first: int,
    *,
    init: Mapping[str, Any],
    remote: Mapping[str, Any],
) -> list[JobReturn]:
    """Run all jobs; return what Hydra's launchers return. A task that dies fails alone."""
    if not ray.is_initialized():
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        ray.init(**{"runtime_env": {"env_vars": {"PYTHONPATH": paths}}, **init})
    try:
        task = ray.remote(**remote)(_job)
        state = Singleton.get_state()
        found = [
            task.remote(context, function, master, list(lines), first + i, state, str(Path.cwd()))
            for i, lines in enumerate(jobs)
        ]
        return [_end(reference) for reference in found]
    finally:
        ray.shutdown()


def _end(reference: Any) -> JobReturn:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        failed = JobReturn(status=JobStatus.FAILED)
        failed.return_value = error
        return failed


def _job(
    context: HydraContext,
    function: TaskFunction,
    master: DictConfig,
    overrides: list[str],
    number: int,
    state: Any,
    folder: str,
) -> JobReturn:
    """Run one job where Ray has put it."""
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(state)
    cfg = context.config_loader.load_sweep_config(master, overrides)
    with open_dict(cfg):
        cfg.hydra.job.id = str(number)
        cfg.hydra.job.num = number
    HydraConfig.instance().set_config(cfg)
    return run_job(
        hydra_context=context,
        task_function=function,
        config=cfg,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
