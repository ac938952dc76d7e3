"""`python -m scripts.reproduce_all`: run every experiment whose data are there.

Nothing is downloaded: `make data-<task>` does that. An experiment without its data, or one that
fails, hinders no other; a table at the end names each of them and says why.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

from hydra.utils import instantiate
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from snnexp.config.compose import compose_config, options
from snnexp.config.validate import ConfigError, validate
from snnexp.data.base import DataError
from snnexp.data.download import OFFLINE

COLOURS = {"done": "green", "ready": "green", "no data": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment: `done`, `failed`, `no data`, or `ready` where only checked."""

    name: str
    what: str
    why: str = ""


def check(name: str, more: list[str]) -> Outcome:
    """Whether the real data of an experiment are there; its features are computed where they are.

    Any error is an outcome: the next experiment is to have its turn.
    """
    try:
        cfg = validate(compose_config([f"experiment={name}", "data=real", *more]))
        task = instantiate(cfg.task, _convert_="all")
        task.prepare_data()
        task.setup("fit")
    except DataError as error:
        return Outcome(name, "no data", str(error))
    except ConfigError as error:
        return Outcome(name, "failed", str(error))
    except Exception as error:
        return Outcome(name, "failed", f"its data: {type(error).__name__}: {error}")
    return Outcome(name, "ready", task.report().excerpt)


def run(name: str, data: str, seeds: str, more: list[str]) -> Outcome:
    """Run an experiment in a process of its own, as `make reproduce-<name>` does."""
    words = [f"experiment={name}", f"data={data}", f"seed={seeds}", *more]
    done = subprocess.run([sys.executable, "-m", "snnexp", "-m", *words], check=False)
    if done.returncode == 0:
        return Outcome(name, "done")
    return Outcome(name, "failed", f"exit status {done.returncode}; its output is above")


def main() -> int:
    """Check, run, and list what became of all; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="say what would run, run nothing")
    parser.add_argument("--sample", action="store_true", help="rehearse all on sample data")
    parser.add_argument("--seeds", default="0", help="as in --seeds 0,1,2")
    parser.add_argument("--only", default="*", help="names to take, as in --only 'fang2021_plif_*'")
    parser.add_argument("more", nargs="*", help="further overrides, as data_dir=/data")
    args = parser.parse_args()
    names = [name for name in options("experiment") if fnmatch(name, args.only)]
    if not names:
        parser.error(f"--only {args.only}: no file of configs/experiment is called so")
    console, outcomes = Console(), []
    for i, name in enumerate(names, start=1):
        console.rule(f"{i} of {len(names)}: {name}")
        outcome = Outcome(name, "ready")
        if not args.sample:
            with _offline():
                outcome = check(name, args.more)
        if outcome.what == "ready" and not args.check:
            data = "sample" if args.sample else "real"
            outcome = run(name, data, args.seeds, args.more)
        outcomes.append(outcome)
    _show(outcomes, console)
    return int(any(outcome.what == "failed" for outcome in outcomes))


@contextmanager
def _offline() -> Iterator[None]:
    """Let no task download anything."""
    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before


def _show(outcomes: list[Outcome], console: Console) -> None:
    """Name what ran, then the others, once for each reason."""
    console.rule("outcome")
    groups: dict[tuple[str, str], list[str]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: list(COLOURS).index(outcome.what)):
        groups.setdefault((outcome.what, outcome.why), []).append(outcome.name)
    for (what, why), names in groups.items():
        console.print(Text(f"{what}: {', '.join(names)}", style=COLOURS[what]))
        if why:
            console.print(Padding(Text(why, style="dim"), (0, 0, 1, 4)))


if __name__ == "__main__":
    sys.exit(main())
