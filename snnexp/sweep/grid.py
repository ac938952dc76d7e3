"""A sweep from its first job to its table: what is done, what is started, what is told."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from rich.console import Console

from snnexp import process
from snnexp.config.validate import ConfigError
from snnexp.report.environment import code_state
from snnexp.report.record import RecordError
from snnexp.sweep import plot, table
from snnexp.sweep.figures import End, main_figure, scores_of, settings_of
from snnexp.sweep.finished import Earlier
from snnexp.sweep.folder import JobFile, SweepFolder
from snnexp.sweep.job import perform
from snnexp.sweep.jobs import Job, composer, expand, given
from snnexp.sweep.plan import Plan, default_name, is_own, plan_of

log = logging.getLogger("snnexp")

#: how often a job is begun whose process dies under it
ATTEMPTS = 2


def sweep(
    context: HydraContext, master: DictConfig, params: Mapping[str, Any], arguments: Sequence[str]
) -> int:
    """Run a grid; return the exit status: 0, 1 if a job failed, 130 after Ctrl-C."""
    try:
        overrides = given(params, arguments)
        plan = plan_of(master)
        jobs = expand(
            [o for o in overrides if not is_own(o)], composer(context.config_loader, master)
        )
        name = plan.name or default_name(jobs, overrides)
        with Sweep(context, master, plan, name) as running:
            running.folder.write_manifest(["python", "-m", "snnexp", *sys.argv[1:]], jobs)
            interrupted = running.do(jobs)
            return running.close(jobs, interrupted)
    except (ConfigError, RecordError) as error:
        process.stop(error)
    except OSError as error:
        process.stop_for_disk(error)


class Sweep:
    """One sweep at work in its folder, with its launcher."""

    def __init__(self, context: HydraContext, master: DictConfig, plan: Plan, name: str) -> None:
        with open_dict(master):
            master.sweep.name = name
        self.plan = plan
        self.name = name
        self.folder = SweepFolder(Path(master.hydra.sweep.dir))
        self.runs = Path(master.output_dir, "runs")
        self.code = code_state()
        self.since = datetime.now(UTC) if plan.redo == "all" else None
        self.taken: set[str] = set()
        self._context, self._master = context, master

    def __enter__(self) -> Sweep:
        self.folder.hold()
        for chatty in ("hydra", "hydra_plugins"):  # they announce what is announced here
            logging.getLogger(chatty).setLevel(logging.WARNING)
        return self

    def __exit__(self, *exception: object) -> None:
        self.folder.release()

    def do(self, jobs: Sequence[Job], trials: Mapping[str, int] | None = None) -> bool:
        """Do what is left of the jobs; return whether Ctrl-C or SIGTERM ended it.

        `trials` gives the search's number of a job, by its key.
        """
        todo = self._todo(jobs, trials or {})
        if trials is None:  # a search says once where it stands, not for each trial
            what = f"{_count(jobs)}, {len(todo)} to do"
            log.info("sweep %s: %s, in %s", self.name, what, self.folder.path)
        before = signal.signal(signal.SIGTERM, _as_interrupt)
        try:
            again = self._round(todo) if todo else []
            # the process that died may have taken others with it: now each has its own turn
            for job in again:
                self._round([job])
        except (KeyboardInterrupt, SystemExit):
            return True
        finally:
            signal.signal(signal.SIGTERM, before)
            for job in todo:
                self._earlier(job).close()
            # Lightning ignores Ctrl-C from the moment it has seen it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return False

    def _todo(self, jobs: Sequence[Job], trials: Mapping[str, int]) -> list[Job]:
        """Say what is finished already; prepare the files of the other jobs, one a key."""
        todo: dict[str, Job] = {}
        for job in jobs:
            if job.problem:
                log.error("job %d (%s) failed: %s", job.number, job.label, job.problem)
            elif job.key in todo or job.key in self.taken:
                log.info("job %d (%s) is the same run as one before it", job.number, job.label)
            elif found := self._earlier(job).finished():
                self.taken.add(job.key)
                log.info(
                    "job %d (%s) is finished already: %s in %s",
                    job.number, job.label, main_figure(found[0]), found[1],
                )  # fmt: skip
            elif self.plan.redo == "none" and self._failed(job):
                log.info("job %d failed earlier and is left as it is: sweep.redo=none", job.number)
            else:
                todo[job.key] = job
                order = JobFile(
                    number=job.number,
                    label=job.label,
                    overrides=[*job.overrides],
                    since=self.since,
                    trial=trials.get(job.key),
                )
                self.folder.write_job(job.key, order)
        return list(todo.values())

    def _round(self, jobs: Sequence[Job]) -> list[Job]:
        """Launch jobs; return those to launch again, because a process died with or before them."""
        trouble = "its process died (killed, or out of memory?)"
        try:
            ends = self._launcher().launch([self._lines(job) for job in jobs], initial_job_idx=0)
            for end in ends:
                _ = end.return_value  # raises what a job could not write into its file
        except Exception as error:
            first = next(iter(str(error).splitlines()), "")
            trouble = f"the launcher failed: {type(error).__name__}: {first}"
            log.error("%s", trouble)
        left = [job for job in jobs if self._file(job).status in ("waiting", "running")]
        # where nothing could be started at all another try would end the same way
        hopeless = all(self._file(job).attempts == 0 for job in jobs)
        again = [] if hopeless else [j for j in left if self._file(j).attempts < ATTEMPTS]
        for job in left:
            if job not in again:
                self.folder.change_job(job.key, status="failed", error=trouble)
        if again:
            log.warning("%d jobs have no end yet: trying each once more, alone", len(again))
        return again

    def _launcher(self) -> Launcher:
        return Plugins.instance().instantiate_launcher(self._context, perform, self._master)

    def _lines(self, job: Job) -> list[str]:
        return [*job.overrides, f"sweep.name={self.name}"]

    def _earlier(self, job: Job) -> Earlier:
        return Earlier(self.runs, job.name, job.seed, job.digest, self.code, self.since)

    def _file(self, job: Job) -> JobFile:
        file = self.folder.read_job(job.key)
        assert file is not None  # written before any launch
        return file

    def _failed(self, job: Job) -> bool:
        file = self.folder.read_job(job.key)
        return file is not None and file.status == "failed"

    def end(self, job: Job) -> End:
        """Return what became of a job: a complete run counts, whatever its file says."""
        if job.problem:
            return End(job, "failed", error=job.problem)
        if found := self._earlier(job).finished():
            result, path = found
            taken = job.key in self.taken
            return End(job, "complete", taken, str(path), scores=scores_of(result, path))
        file = self.folder.read_job(job.key)
        if file is None:
            return End(job, "waiting")
        status = "interrupted" if file.status == "running" else file.status
        return End(job, status, run=file.run, error=file.error)

    def close(self, jobs: Sequence[Job], interrupted: bool, trials: bool = False) -> int:
        """Print the table, write table and plot; return the exit status.

        `trials`: the jobs are a search's, and the plot is of its course.
        """
        console = Console(highlight=False)
        ends = [self.end(job) for job in _distinct(jobs)]
        settings = settings_of(ends, self.plan.over)
        console.print()
        table.show_settings(settings, self.plan.over, console)
        table.write_settings(self.folder.path / "settings.csv", settings)
        table.write_jobs(self.folder.path / "jobs.csv", ends)
        if trials:
            plot.draw_course(ends, self.folder.path / "sweep.png")
        else:
            plot.draw(settings, self.folder.path / "sweep.png")
        console.print(_counts(ends), soft_wrap=True)
        console.print(f"table, plot and jobs: {self.folder.path}", soft_wrap=True)
        if interrupted:
            console.print(
                "Interrupted. The same command goes on where it was: python -m snnexp "
                + shlex.join(sys.argv[1:]),
                style="yellow",
                soft_wrap=True,
                markup=False,
            )
            return 130
        return int(any(end.status == "failed" for end in ends))


def _as_interrupt(number: int, frame: object) -> None:
    """End a sweep that is told to terminate as Ctrl-C does: with its table, and its jobs."""
    raise KeyboardInterrupt


def _distinct(jobs: Sequence[Job]) -> list[Job]:
    """Leave out jobs that are the same run as one before them: a run counts once."""
    first = {job.key or job.number: job for job in reversed(jobs)}
    return sorted(first.values(), key=lambda job: job.number)


def _counts(ends: Sequence[End]) -> str:
    parts = []
    for status in ("complete", "pruned", "failed", "interrupted", "waiting"):
        n = sum(end.status == status for end in ends)
        if n:
            parts.append(f"{n} {status}")
    taken = sum(end.taken for end in ends)
    kept = f" ({taken} of them finished before)" if taken else ""
    return f"{_count(ends)}: {', '.join(parts)}{kept}"


def _count(jobs: Sequence[object]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
