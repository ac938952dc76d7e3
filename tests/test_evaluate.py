"""A later test of a finished run: the same figures, disturbed ones, a curve; its own files."""

import csv
import re
import subprocess
import sys

import pytest

from snnexp.evaluate import main
from snnexp.report.evaluation import curve, read_evaluation
from snnexp.report.record import RecordError, read_result

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*deterministic.*:UserWarning"
)


def evaluated(run, *words):
    before = set(run.glob("evaluations/*"))
    main([f"run={run}", "trust=true", "accelerator=cpu", *words])
    (folder,) = set(run.glob("evaluations/*")) - before
    return read_evaluation(folder), folder


def test_the_undisturbed_test_repeats_the_runs_figures(taken, capsys):
    record = (taken / "result.json").read_bytes()
    found, folder = evaluated(taken)
    result = read_result(taken)
    (point,) = found.points
    assert point.metrics == pytest.approx(result.metrics.selected)
    assert point.confusion == result.confusion
    assert point.firing.total.rate == pytest.approx(result.firing.total.rate)
    assert found.checkpoint.epoch == result.metrics.selected_epoch
    assert found.run == result.id
    assert found.run_commit == result.code.commit
    assert found.baselines == {"chance": 0.25}
    assert found.data.kind == "sample"
    assert folder.name.endswith("-none")
    assert (taken / "result.json").read_bytes() == record
    shown = capsys.readouterr().out
    for word in ("undisturbed", "in the run", "+0.0", "chance", str(folder.name), "not the bench"):
        assert word in " ".join(shown.split()), word


def test_the_last_epochs_weights(taken):
    found, _ = evaluated(taken, "checkpoint=last")
    assert found.points[0].metrics == pytest.approx(read_result(taken).metrics.last)


def test_a_disturbance_is_recorded_repeatable_and_felt(taken):
    first, _ = evaluated(taken, "corrupt=noise", "corrupt.sigma=3", "seed=4")
    again, _ = evaluated(taken, "corrupt=noise", "corrupt.sigma=3", "seed=4")
    disturbance = first.points[0].disturbance
    assert disturbance.name == "noise"
    assert disturbance.arguments == {"sigma": 3, "snr_db": None, "seed": 4}
    assert first.points == again.points
    clean = read_result(taken).metrics.selected
    assert first.points[0].metrics["test/acc"] < clean["test/acc"]


def test_several_strengths_give_a_curve(taken, capsys):
    found, folder = evaluated(taken, "corrupt=drop_neurons", "corrupt.p=0,0.5,1")
    assert found.swept == "corrupt.p"
    assert found.strengths() == [0, 0.5, 1]
    rates = [p.metrics["test/rate"] for p in found.points]
    assert rates[0] > rates[1] > rates[2] == 0
    assert found.points[0].metrics == pytest.approx(read_result(taken).metrics.selected)
    with (folder / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["corrupt.p"]) for r in rows] == [0, 0.5, 1]
    assert [float(r["test/rate"]) for r in rows] == pytest.approx(rates)
    assert (folder / "curve.png").stat().st_size > 5000
    assert "corrupt.p" in capsys.readouterr().out
    accuracy, _ = curve(found.model_copy(update={"baselines": {"linear": 1.5}})).axes
    assert accuracy.get_ylim()[0] == 0
    assert accuracy.get_ylim()[1] > 1.5, "a trivial predictor above the network is in the picture"


def test_disturbances_side_by_side(taken):
    found, folder = evaluated(taken, "corrupt=none,drop_steps,drop_weights")
    assert found.strengths() == ["none", "drop_steps", "drop_weights"]
    assert (folder / "curve.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["corrupt=nois"], "Did you mean 'noise'"),
        (["corrupt=noise", "corrupt.sgima=1"], "corrupt.sgima: no such key"),
        (["corrupt=drop_steps", "corrupt.p=much"], "expected float"),
        (["corrupt=drop_steps", "corrupt.p=2"], r"lies in \[0, 1\]"),
        (["corrupt=drop_events"], "does not count events"),
        (["chekpoint=last"], "checkpoint"),
        (["corrupt=noise", "corrupt.sigma=0,1", "seed=0,1"], "one key at a time"),
        (["seed=0,1"], "serve corrupt"),
        (["data=fake"], "data"),
        (["checkpoint=nothing.ckpt"], "expected best, last or a file"),
        (["backend=triton"], "triton"),
    ],
)
def test_mistakes_are_answered_without_a_traceback(finished, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        main([f"run={finished}", "trust=true", "accelerator=cpu", *words])
    assert end.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (finished / "evaluations").exists()


def test_help_gives_examples(capsys):
    main(["--help"])
    assert "corrupt.sigma=0,0.5,1,2" in capsys.readouterr().out


def test_the_command_line_takes_odd_names_and_answers_without_a_traceback(tmp_path):
    odd = tmp_path / "a folder, (with) odd=signs"
    odd.mkdir()
    command = [sys.executable, "-m", "snnexp.evaluate", f"run={odd}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "config.yaml: no such file" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "evaluation.json").write_text('{"run": 3}')
    with pytest.raises(RecordError, match=r"evaluation\.json: run"):
        read_evaluation(tmp_path)
    with pytest.raises(RecordError, match="no such file"):
        read_evaluation(tmp_path / "other")
