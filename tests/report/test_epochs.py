import pandas as pd
import pytest

from snnexp.report.collect import collect
from snnexp.report.epochs import EPOCHS
from snnexp.report.record import RecordError
from tests.report.conftest import accuracy, make_result

HEADER = "epoch,step,val/acc,val/loss\n"


def run(root, name, history, **changes):
    result = make_result(id=name, **changes)
    folder = root / name
    folder.mkdir(parents=True)
    result.write(folder)
    if history is not None:
        (folder / "metrics.csv").write_text(history)
    return folder


def test_each_epoch_of_each_collected_run_is_kept_once(tmp_path):
    file = tmp_path / "results.csv"
    first = run(tmp_path, "b", HEADER + "0,10,0.5,1\n1,20,,0.9\n1,20,0.625,\n")
    on_test = accuracy(0.75) | {"select_on": "test", "monitor": "test/acc"}
    second = run(tmp_path, "a", HEADER + "0,10,0.75,1\n", metrics=on_test)
    collect([first, run(tmp_path, "never begun", None, status="failed", error="E")], file)
    collect([second], file)
    rows = pd.read_csv(tmp_path / EPOCHS)
    assert rows.to_numpy().tolist() == [
        ["a", "test/acc", 1, 0.75],
        ["b", "val/acc", 1, 0.5],
        ["b", "val/acc", 2, 0.625],
    ]
    before = (tmp_path / EPOCHS).read_bytes()
    collect([first, second], file)
    assert (tmp_path / EPOCHS).read_bytes() == before
    (first / "metrics.csv").write_text(HEADER + "0,10,0.25,1\n")
    collect([first], file)
    assert pd.read_csv(tmp_path / EPOCHS)["value"].tolist() == [0.75, 0.25]


def test_a_history_that_is_no_table_is_named_and_hinders_no_other(tmp_path):
    broken = run(tmp_path, "broken", "step\n1\n")
    done = collect([broken, run(tmp_path, "good", HEADER + "0,1,0.5,1\n")], tmp_path / "r.csv")
    assert done.added == ["good"]
    assert "metrics.csv: no column epoch" in done.problems[0]


def test_a_file_of_another_shape_is_left_alone(tmp_path):
    (tmp_path / EPOCHS).write_text("epoch,accuracy\n1,0.5\n")
    with pytest.raises(RecordError, match=r"expected run, metric, epoch, value.*move it away"):
        collect([run(tmp_path, "a", HEADER + "0,1,0.5,1\n")], tmp_path / "results.csv")
    assert (tmp_path / EPOCHS).read_text() == "epoch,accuracy\n1,0.5\n"
