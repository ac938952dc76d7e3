import csv
import math

import pytest

from snnexp.report.collect import Row, collect, read_rows, rows_of, run_files
from snnexp.report.record import RecordError
from tests.report.conftest import PAPER, accuracy, make_result


def store(root, result):
    folder = root / result.id
    folder.mkdir(parents=True)
    result.write(folder)
    return folder


def test_rows_hold_every_figure_once():
    result = make_result(paper=PAPER)
    found = {(row.of, row.metric): row.value for row in rows_of(result)}
    assert len(found) == len(rows_of(result))
    assert found["selected", "test/acc"] == 0.93
    assert found["last", "test/recall/yes"] == 0.91
    assert found["baseline", "linear"] == 0.51
    assert found["cost", "parameters"] == 131535
    assert found["cost", "energy_nj"] == 1800.0
    assert found["cost", "wall_s"] == 180.5
    row = rows_of(result)[0]
    assert (row.claimed, row.protocol, row.main_metric) == (0.945, "authors", "test/acc")
    assert row.command == "python -m snnexp task=speech"
    assert row.machine == "Some CPU, 2 threads"
    failed = rows_of(make_result(status="failed", error="E: /home/me/x.edf", command=["/a/b.py"]))
    assert (failed[0].error, failed[0].command) == ("E: .../x.edf", "...")
    assert row.versions == "python 3.11.7, torch 2.9.0"
    many = result.environment.model_copy(update={"gpu": "NVIDIA H100", "world_size": 2})
    assert rows_of(make_result(environment=many))[0].machine == "2 x NVIDIA H100"


def test_csv_round_trip_keeps_every_digit(tmp_path):
    result = make_result(metrics=accuracy(1 / 3) | {"last": {"test/loss": math.nan}})
    store(tmp_path / "runs", result)
    file = tmp_path / "results.csv"
    collect(run_files(tmp_path / "runs"), file)
    back = {(r.of, r.metric): r.value for r in read_rows(file)}
    assert back["selected", "test/acc"] == 1 / 3
    nan = back["last", "test/loss"]
    assert nan is not None
    assert math.isnan(nan)
    with file.open(newline="") as stream:
        assert next(csv.reader(stream)) == list(Row.model_fields)


def test_collecting_twice_changes_nothing_and_a_changed_run_is_replaced_in_place(tmp_path):
    runs, file = tmp_path / "runs", tmp_path / "out" / "results.csv"
    folders = [store(runs, make_result(seed=seed)) for seed in (0, 1, 2)]
    assert len(collect(folders, file).added) == 3
    first = file.read_bytes()
    collect(folders, file)
    assert file.read_bytes() == first
    order = list(dict.fromkeys(row.run for row in read_rows(file)))
    make_result(seed=1, metrics=accuracy(0.5)).write(folders[1])
    assert len(collect([folders[1]], file).added) == 1
    after = read_rows(file)
    assert list(dict.fromkeys(row.run for row in after)) == order
    values = [r.value for r in after if (r.seed, r.of, r.metric) == (1, "selected", "test/acc")]
    assert values == [0.5]


def test_one_bad_file_hinders_no_other_and_running_runs_wait(tmp_path):
    runs, file = tmp_path / "runs", tmp_path / "results.csv"
    store(runs, make_result(seed=0))
    bad = store(runs, make_result(seed=1))
    (bad / "result.json").write_text("{")
    store(runs, make_result(seed=2, status="running"))
    done = collect(run_files(runs), file)
    assert len(done.added) == 1
    assert done.running == [make_result(seed=2).id]
    assert len(done.problems) == 1
    assert "not a JSON file" in done.problems[0]
    assert {row.seed for row in read_rows(file)} == {0}


def test_a_csv_that_does_not_fit_is_refused_with_its_line(tmp_path):
    file = tmp_path / "results.csv"
    with pytest.raises(RecordError, match="collect --all"):
        read_rows(file)
    store(tmp_path / "runs", make_result())
    collect(run_files(tmp_path / "runs"), file)
    lines = file.read_text().splitlines()
    for old, new, message in (
        ("complete", "finished", "line 3: status"),
        ("python -m snnexp", "python 'm snnexp", "line 3: command: .*quotation"),
    ):
        file.write_text("\n".join([*lines[:2], lines[2].replace(old, new)]))
        with pytest.raises(RecordError, match=message):
            read_rows(file)


def test_a_csv_of_another_version_is_refused_and_left_alone(tmp_path):
    file, folder = tmp_path / "results.csv", store(tmp_path / "runs", make_result())
    collect([folder], file)
    header, *lines = file.read_text().splitlines()
    older = "\n".join([header.replace(",command,", ","), *lines])
    newer = "\n".join([f"{header},colour", *(f"{line},red" for line in lines)])
    for text, message in (
        (older, "no column command: written by another version"),
        (newer, "unknown columns colour"),
        ("a,b\n1,2\n", "unknown columns a, b"),
        ("", "no column run, name"),
    ):
        file.write_text(text)
        with pytest.raises(RecordError, match=message):
            read_rows(file)
        with pytest.raises(RecordError, match="left as it is"):
            collect([folder], file)
        assert file.read_text() == text


def test_a_csv_from_before_the_folds_is_read(tmp_path):
    file, folder = tmp_path / "results.csv", store(tmp_path / "runs", make_result())
    collect([folder], file)
    now = read_rows(file)
    header, *lines = file.read_text().splitlines()
    assert ",0,,,complete," in lines[0]
    older = [line.replace(",0,,,complete,", ",0,complete,") for line in lines]
    file.write_text("\n".join([header.replace(",fold,folds,", ","), *older]))
    assert read_rows(file) == now
