"""What the Makefile's targets would run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def commands(*words):
    """The commands of a target, without the program's folder and without installing anything."""
    # as from a shell, also when make itself has called pytest
    shell = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", *words],
        cwd=ROOT, env=shell, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()).removeprefix(".venv/bin/") for line in lines]


def test_reproduce_looks_for_the_data_before_it_runs():
    assert commands("reproduce-some_paper", "SEEDS=0,1", "DATA_DIR=/d", "ARGS=trainer=x") == [
        "python -m scripts.prepare_data experiment=some_paper data=real data_dir=/d",
        "python -m snnexp -m experiment=some_paper data=real seed=0,1 data_dir=/d trainer=x",
    ]


def test_a_rehearsal_needs_no_data():
    assert commands("reproduce-some_paper", "SAMPLE=1") == [
        "python -m snnexp -m experiment=some_paper data=sample seed=0"
    ]


def test_reproduce_all_is_no_experiment():
    assert commands("reproduce-all", "CHECK=1", "SEEDS=0,1", "ONLY=fang*") == [
        "python -m scripts.reproduce_all --seeds 0,1 --only 'fang*' --check"
    ]


def test_every_benchmark_of_a_cpu_is_run_and_records():
    scripts = {path.stem for path in (ROOT / "scripts").glob("bench_*.py")}
    parts = ("gate", "layers", "limit", "peers", "record", "step_peers", "timing")
    shared = {f"bench_{part}" for part in parts} | {"bench_gpu"}
    run = commands("bench", "RECORD=a.csv")
    assert {line.split()[2].removeprefix("scripts.") for line in run} == scripts - shared
    assert all(line.endswith("--record a.csv") for line in run)


def test_the_figure_of_benchmarks_is_drawn_from_the_csv():
    assert commands("bench-figure") == [
        "python -m scripts.draw_scaling outputs/bench.csv outputs/figures/scaling.svg"
    ]


@pytest.mark.parametrize("target", ["list", "report", "table"])
def test_the_record_has_its_targets(target):
    (command,) = commands(target)
    assert command == f"python -m snnexp.report {'html' if target == 'report' else target}"
