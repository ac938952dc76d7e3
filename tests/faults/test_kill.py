"""kill -9 at any moment of a run: what is resumed is the run that was never killed."""

import json
import random
import signal
from pathlib import Path

import pandas as pd

from snnexp.data.cache import MANIFEST, cached
from snnexp.report.record import read_result
from tests.faults.nursery import child, die, kill_at, kill_half_way, nursery, quiet_run

#: moments drawn at random among all changes of files, and files killed half-written
MOMENTS, HALVES = 5, 2


def records(root):
    return sorted(p.parent for p in Path(root).glob("runs/*/*/*/result.json"))


def whole_run(root):
    """Make the run without a fault; return its value and how many changes and syncs it made."""
    seen, synced = kill_at(root, -1), kill_half_way(root, -1)
    value = quiet_run(root)
    return [value, seen[0], synced[0]]


def kill_and_resume(root, moment):
    """Kill a run at a moment, then resume it, each in its own process."""
    kill, n = moment

    def killed():
        kill(root, n)
        quiet_run(root)

    assert child(killed) == {"signal": signal.SIGKILL}, f"nothing was killed at {moment}"
    return child(lambda: quiet_run(root, "resume=auto"))


def scenario(folder):
    """All runs of this test; the last line of the output says what they came to."""
    root = Path(folder)
    value, changes, syncs = child(lambda: whole_run(root / "whole"))
    draw = random.Random(6)
    moments = [(kill_at, n) for n in sorted(draw.sample(range(1, changes + 1), MOMENTS))]
    moments += [(kill_half_way, n) for n in sorted(draw.sample(range(1, syncs + 1), HALVES))]
    values = [kill_and_resume(root / str(i), moment) for i, moment in enumerate(moments)]
    said = [f"{kill.__name__} {n} of {changes}, {syncs}" for kill, n in moments]
    print(json.dumps({"whole": value, "values": values, "moments": said}))


def test_a_run_killed_at_any_moment_is_resumed_to_the_same_end(tmp_path):
    found = nursery(__name__, "scenario", tmp_path)
    (whole,) = records(tmp_path / "whole")
    expected = read_result(whole)
    table = pd.read_csv(whole / "metrics.csv").drop(columns="seconds")
    continued = 0
    for i, moment in enumerate(found["moments"]):
        assert found["values"][i] == found["whole"], moment
        complete = [f for f in records(tmp_path / str(i)) if read_result(f).status == "complete"]
        assert len(complete) == 1, f"{moment}: nothing lost, nothing doubled"
        (folder,) = complete
        result = read_result(folder)
        assert result.metrics == expected.metrics, moment
        assert result.firing == expected.firing, moment
        rows = pd.read_csv(folder / "metrics.csv").drop(columns="seconds")
        pd.testing.assert_frame_equal(rows, table, check_exact=True)
        names = {p.name for p in folder.rglob("*")}
        assert names == {p.name for p in whole.rglob("*")}, f"{moment}: leftovers"
        continued += result.resumes
        # killed before its first checkpoint: there was nothing to go on with
        for other in set(records(tmp_path / str(i))) - {folder}:
            assert read_result(other).status == "running", moment
            assert not (other / "checkpoints/last.ckpt").exists(), moment
    assert continued >= MOMENTS // 2, "most moments leave a run to go on with"


def cache_scenario(folder):
    """Kill the making of a cache at each of its steps; then make it."""
    root, outcomes = Path(folder), []

    def build(place):
        (place / "features.bin").write_bytes(b"x" * 1000)

    def half(place):
        (place / "features.bin").write_bytes(b"x" * 500)
        die()

    def make(work):
        return str(cached(root, {"k": 1}, [Path(__file__)], work, "features"))

    def killed_at(n):
        kill_at(root, n)
        make(build)

    # 2: the temporary folder, 3: the file in it, 4: the manifest, 5: the rename
    for step in (lambda: make(half), *(lambda n=n: killed_at(n) for n in (2, 3, 4, 5))):
        outcomes.append(child(step))
        left = [p.name for p in root.iterdir() if (p / MANIFEST).exists() and "tmp" not in p.name]
        outcomes.append({"finished": left})
    final = Path(child(lambda: make(build)))
    outcomes.append({"size": (final / "features.bin").stat().st_size})
    outcomes.append({"names": sorted(p.name for p in root.iterdir() if p.is_dir())})
    print(json.dumps({"outcomes": outcomes, "final": final.name}))


def test_a_cache_killed_at_any_step_is_made_whole(tmp_path):
    found = nursery(__name__, "cache_scenario", tmp_path)
    *steps, size, names = found["outcomes"]
    assert steps == [{"signal": signal.SIGKILL}, {"finished": []}] * 5
    assert size == {"size": 1000}
    assert names == {"names": [found["final"]]}
