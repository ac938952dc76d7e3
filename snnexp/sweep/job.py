"""One job of a sweep, in whichever process or on whichever machine a launcher starts it."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from snnexp import process
from snnexp.config.compose import with_name
from snnexp.config.validate import validate
from snnexp.report.environment import code_state
from snnexp.report.folder import config_hash
from snnexp.report.record import Result
from snnexp.report.units import duration
from snnexp.run import execute
from snnexp.sweep.figures import last_line, main_figure
from snnexp.sweep.finished import Earlier
from snnexp.sweep.folder import JobFile, SweepFolder
from snnexp.sweep.jobs import Job

log = logging.getLogger("snnexp")


class PrunedRun(SystemExit):
    """A search has stopped this run; its record says `interrupted`, and it can be gone on with."""


def perform(cfg: DictConfig) -> None:
    """Run the job that the launcher composed, unless it is done; leave its end in its file.

    An error of the run is the job's end, not the sweep's. Ctrl-C and SIGTERM go on to the sweep.
    """
    runtime = HydraConfig.get()
    choices = dict(runtime.runtime.choices)
    frozen = validate(with_name(cfg, choices))
    config = cast(dict[str, Any], OmegaConf.to_container(frozen))
    digest = config_hash(config)
    job = Job(0, (), {}, frozen.name, frozen.seed, digest)
    folder = SweepFolder(Path(runtime.sweep.dir))
    file = folder.read_job(job.key)
    assert file is not None  # the sweep writes it before it starts the job
    file = folder.change_job(
        job.key, status="running", attempts=file.attempts + 1, error=None, run=None
    )
    process.prepare()
    process.quiet_lightning()
    with process.prefixed(f"[{file.number}] "):
        log.info("%s", file.label)
        _to_its_end(frozen, job, file, folder)
    gc.collect()  # trainers hold themselves: a long sweep must not keep every network


def _to_its_end(cfg: DictConfig, job: Job, file: JobFile, folder: SweepFolder) -> None:
    """Run the job and write down how it ended."""
    try:
        result, path = _result(cfg, job.digest, file, folder)
    except PrunedRun as error:
        folder.change_job(job.key, status="pruned", error=str(error))
        log.info("%s", error)
    except (KeyboardInterrupt, SystemExit):
        folder.change_job(job.key, status="interrupted", error="interrupted")
        raise
    except Exception as error:
        text = "".join(traceback.format_exception(error)).rstrip()
        folder.change_job(job.key, status="failed", error=text)
        log.error("failed: %s", last_line(text))
    else:
        folder.change_job(job.key, status="complete", run=str(path))
        log.info("%s in %s", main_figure(result), duration(result.wall_s))


def _result(
    cfg: DictConfig, digest: str, file: JobFile, folder: SweepFolder
) -> tuple[Result, Path]:
    """Take a finished run, wait for one under way, continue a cut one, or make a new one."""
    root = Path(cfg.output_dir, "runs")
    earlier = Earlier(root, cfg.name, cfg.seed, digest, code_state(), file.since)
    while (held := earlier.held()) is not None:
        log.info("another process is at work in %s: waiting for it", held)
        _wait_for(earlier, held)
    if found := earlier.finished():
        return found
    if cfg.resume is None and earlier.cut():
        cfg = cast(DictConfig, OmegaConf.merge(cfg, {"resume": "auto"}))
        OmegaConf.set_readonly(cfg, True)
    watch = None
    if file.trial is not None:
        from snnexp.sweep.pruning import watcher  # needs Optuna, which a grid does not

        watch = watcher(folder.path, file.trial)
    return execute(cfg, watch, ["python", "-m", "snnexp", *file.overrides])


def _wait_for(earlier: Earlier, held: Path) -> None:
    """Sleep while the run goes on, at most half a minute at a time."""
    pause = 0.2
    while earlier.held() == held:
        time.sleep(pause)
        pause = min(2 * pause, 30.0)
