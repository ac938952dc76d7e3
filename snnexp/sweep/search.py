"""A search by Optuna: trials chosen by a tree-structured Parzen estimator (TPE), pruned, resumable.

J. Bergstra et al., Algorithms for hyper-parameter optimization, NIPS 2011. The validation figure
decides, never the test set. The study is `study.db` (SQLite) in the sweep's folder; each trial is a
job like any other, so a cut one goes on from its last checkpoint.

hydra-optuna-sweeper 1.3 allows only Optuna 2, and tells Optuna a run's return value.
"""

from __future__ import annotations

import logging
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from snnexp import process
from snnexp.config.validate import ConfigError
from snnexp.report.record import RecordError
from snnexp.sweep.figures import End, more_is_better
from snnexp.sweep.grid import Sweep
from snnexp.sweep.jobs import Compose, Job, composer, expand, given, multiply
from snnexp.sweep.plan import default_name, is_own, plan_of
from snnexp.sweep.pruning import STUDY, check_direction, storage

log = logging.getLogger("snnexp")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What configs/sweep/optuna.yaml says beside the space."""

    trials: int
    batch: int
    direction: Literal["maximize", "minimize"]
    startup: int
    prune: bool
    warmup: int
    seed: int


def search(
    context: HydraContext,
    master: DictConfig,
    params: Mapping[str, Any],
    arguments: Sequence[str],
    options: Options,
) -> int:
    """Run a search; return the exit status: 0, 1 if a job failed, 130 after Ctrl-C."""
    try:
        overrides = given(params, arguments)
        plan = plan_of(master)
        parts = [o for o in overrides if not is_own(o)]
        space = {
            o.get_key_element(): distribution(o)
            for o in parts
            if o.is_sweep_override() and o.get_key_element() not in plan.over
        }
        if not space:
            raise ConfigError(
                ["a search needs a key with several values: optimizer.lr='interval(1e-4, 1e-2)'"]
            )
        fixed = [o for o in parts if o.get_key_element() not in space]
        compose = composer(context.config_loader, master)
        jobs = expand(
            [*fixed, *as_overrides({k: some_value(d) for k, d in space.items()})], compose
        )
        if compose(jobs[0].overrides).select_on == "test":
            raise ConfigError(
                ["select_on: a search over the test set would report its own luck; give "
                 "select_on=val"]
            )  # fmt: skip
        with Sweep(context, master, plan, plan.name or default_name(jobs, overrides)) as running:
            return Search(running, options, fixed, space, compose).run()
    except (ConfigError, RecordError) as error:
        process.stop(error)
    except OSError as error:
        process.stop_for_disk(error)


class Search:
    """A study in a sweep's folder, and the loop of asking, running, telling."""

    def __init__(
        self,
        running: Sweep,
        options: Options,
        fixed: Sequence[Override],
        space: dict[str, BaseDistribution],
        compose: Compose,
    ) -> None:
        self.sweep, self.options = running, options
        self.fixed, self.space, self.compose = fixed, space, compose
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = self._open()

    def run(self) -> int:
        """Finish the trials that were cut, then ask for new ones; return the exit status."""
        interrupted = False
        done = len(self.study.get_trials(states=[s for s in TrialState if s.is_finished()]))
        where = f"{done} of {self.options.trials} trials done, in {self.sweep.folder.path}"
        log.info("search %s: %s", self.sweep.name, where)
        while not interrupted and (batch := self._batch()):
            jobs = [job for trial in batch for job in self._jobs(trial)]
            single = {
                js[0].key: trial.number
                for trial in batch
                if len(js := self._jobs(trial)) == 1 and js[0].key
            }
            self._write_manifest()
            interrupted = self.sweep.do(jobs, single)
            for trial in batch:
                self._tell(trial)
        jobs = [job for trial in self.study.trials for job in self._jobs(trial)]
        return self.sweep.close(jobs, interrupted, trials=True)

    def _open(self) -> optuna.Study:
        """Open the folder's study, or begin it; RecordError where it is of another search."""
        file = self.sweep.folder.path / "study.db"
        if self.sweep.plan.redo == "all":
            file.unlink(missing_ok=True)
        study = optuna.create_study(
            study_name=STUDY,
            storage=storage(self.sweep.folder.path),
            direction=self.options.direction,
            load_if_exists=True,
        )
        facts = {
            "code": self.sweep.code.model_dump(),
            "space": {key: repr(value) for key, value in sorted(self.space.items())},
            "fixed": sorted(str(o.input_line) for o in self.fixed),
            "direction": self.options.direction,
        }
        for key, value in facts.items():
            if study.user_attrs.get(key, value) != value:
                raise RecordError(
                    f"{file}: made with another {key}: {study.user_attrs[key]}, now {value}. Begin "
                    "anew with sweep.redo=all, or beside it with sweep.name=<name>"
                )
            study.set_user_attr(key, value)
        for key in ("startup", "warmup", "prune"):
            study.set_user_attr(key, getattr(self.options, key))
        return study

    def _batch(self) -> list[FrozenTrial]:
        """Return cut trials, else new ones; none when there are enough."""
        cut = []
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            if "jobs" in trial.user_attrs:
                cut.append(trial)
            else:  # killed while it was asked for
                self.study.tell(trial.number, state=TrialState.FAIL)
        if cut:
            return cut
        done = len(self.study.trials)
        return [
            self._ask(done + i) for i in range(min(self.options.batch, self.options.trials - done))
        ]

    def _ask(self, number: int) -> FrozenTrial:
        # seeded anew for each trial: a search that was cut asks for what it would have asked for
        state = np.random.SeedSequence((self.options.seed, number)).generate_state(1)
        self.study.sampler = optuna.samplers.TPESampler(
            seed=int(state[0]), n_startup_trials=self.options.startup, constant_liar=True
        )
        trial = self.study.ask(self.space)
        lines = as_overrides(trial.params)
        first = 1 + sum(len(self._jobs(t)) for t in self.study.trials)
        jobs = multiply([*self.fixed, *lines], self.compose, first)
        values = {key: str(value) for key, value in trial.params.items()}
        jobs = [replace(job, varied=values | job.varied) for job in jobs]
        trial.set_user_attr("jobs", [asdict(job) for job in jobs])
        return self.study.trials[trial.number]

    @staticmethod
    def _jobs(trial: FrozenTrial) -> list[Job]:
        fields = trial.user_attrs.get("jobs", [])
        return [Job(**{**f, "overrides": tuple(f["overrides"])}) for f in fields]

    def _tell(self, trial: FrozenTrial) -> None:
        """Tell the study what became of a trial; one that was cut stays open."""
        ends = [self.sweep.end(job) for job in self._jobs(trial)]
        statuses = {end.status for end in ends}
        if statuses == {"complete"}:
            self.study.tell(trial.number, self._value(ends))
        elif "failed" in statuses:
            self.study.tell(trial.number, state=TrialState.FAIL)
        elif "pruned" in statuses:
            self.study.tell(trial.number, state=TrialState.PRUNED)

    def _value(self, ends: Sequence[End]) -> float:
        scores = [end.scores for end in ends if end.scores is not None]
        by = scores[0].chosen_by
        check_direction(self.study, by, "max" if more_is_better(by) else "min")
        return statistics.fmean(s.chosen for s in scores if s.chosen is not None)

    def _write_manifest(self) -> None:
        jobs = [job for trial in self.study.trials for job in self._jobs(trial)]
        self.sweep.folder.write_manifest(["python", "-m", "snnexp", *sys.argv[1:]], jobs)


def distribution(override: Override) -> BaseDistribution:
    """Return what a key is drawn from: a choice, a range of numbers or an interval."""
    value = override.value()
    if override.is_choice_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    if isinstance(value, RangeSweep):
        numbers = list(value.range())
        if all(isinstance(n, int) for n in numbers):
            return IntDistribution(min(numbers), max(numbers), step=abs(int(value.step)))
        return FloatDistribution(min(numbers), max(numbers), step=abs(float(value.step)))
    assert isinstance(value, IntervalSweep)
    low, high, log_scale = value.start, value.end, "log" in value.tags
    assert low is not None
    assert high is not None
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log_scale)
        return FloatDistribution(float(low), float(high), log=log_scale)
    except ValueError as error:
        raise ConfigError([f"{override.input_line}: {error}"]) from None


def some_value(distribution: BaseDistribution) -> Any:
    """Return one value of a distribution, to try whether a job composes."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low


def as_overrides(values: Mapping[str, Any]) -> list[Override]:
    """Return `key=value` of each, parsed."""
    parser = OverridesParser.create()
    return parser.parse_overrides([f"{key}={value}" for key, value in values.items()])
