import csv
import math
from pathlib import Path

import pytest

from snnexp.report.collect import Row, collect, read_rows, rows_of, run_files
from snnexp.report.record import RecordError
from snnexp.report.settings import settings, variation
from snnexp.report.table import BEGIN, END, results_table, rewritten, write_table
from tests.report.conftest import PAPER, make_result

REAL = {"variant": "real", "source": "Speech Commands v0.02", "sizes": {"test": 100}}
EXCERPT = REAL | {"excerpt": "3,243 of 105,829 clips"}


def accuracy(value, **metrics):
    return {
        "select_on": "val",
        "monitor": "val/acc",
        "selected": {"test/acc": value, "test/rate": 0.05},
        "last": {"test/acc": value - 0.02, "test/rate": 0.05},
    } | metrics


def rows(*results):
    return [row for result in results for row in rows_of(result)]


def store(root, result):
    folder = root / result.id
    folder.mkdir(parents=True)
    result.write(folder)
    return folder


def table_lines(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


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
    words = ["python", "-m", "snnexp", "data_dir=/home/me/data", "task.fold=range(2)", "/a/b.py"]
    typed = "python -m snnexp data_dir=... 'task.fold=range(2)' ..."
    assert rows_of(make_result(command=words))[0].command == typed
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


def test_claim_beside_mean_and_spread_of_seeds():
    results = [
        make_result(seed=s, name="speech", paper=PAPER, data=REAL, metrics=accuracy(value))
        for s, value in enumerate((0.93, 0.94, 0.95))
    ]
    (line,) = table_lines(results_table(rows(*results)))[2:]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "Pellegrini et al. 2021, abstract", "speech", "authors", "test/acc", "chosen on val",
        "94.5 %", "94.0 ± 1.0 % (n = 3)", "yes: -0.5 (± 1.0)", "5.0 %", "0123456",
    ]  # fmt: skip


def test_outside_tolerance_no_claim_and_dirty_code():
    far = make_result(name="far", paper=PAPER, data=REAL, metrics=accuracy(0.80))
    none = make_result(
        name="none", paper=PAPER | {"claimed": None, "tolerance": None}, data=REAL,
        metrics=accuracy(0.80), code={"commit": "f" * 40, "dirty": True},
    )  # fmt: skip
    text = results_table(rows(far, none))
    assert "no: -14.5 (± 1.0)" in text
    assert "| 80.0 % (n = 1) | – | 5.0 % | fffffff+ |" in text


def test_a_protocol_that_selects_on_the_test_set_shows_its_maximum():
    paper = PAPER | {"selection": "max_over_epochs"}
    metrics = accuracy(0.90, select_on="test", max_over_epochs={"test/acc": 0.944})
    lenient = make_result(name="lenient", paper=paper, data=REAL, metrics=metrics)
    strict = make_result(
        name="strict", paper=PAPER | {"protocol": "strict"}, data=REAL, metrics=accuracy(0.92)
    )
    first, second = table_lines(results_table(rows(lenient, strict)))[2:]
    assert "| best on test | 94.5 % | 94.4 % (n = 1) |" in first
    assert "| strict | test/acc | chosen on val | 94.5 % | 92.0 % (n = 1) |" in second


def test_sample_and_excerpt_never_meet_a_claim():
    sample = make_result(paper=PAPER)
    excerpt = make_result(paper=PAPER, data=EXCERPT, id="excerpt")
    text = results_table(rows(sample, excerpt))
    assert "94.5" not in text
    assert "Claimed" not in text
    assert "| speech-conv_snn | 3,243 of 105,829 clips | test/acc |" in text
    folded = text.split("<details>")[1].split("</details>")[0]
    assert "On sample data" in folded
    assert "1 setting<" in folded
    assert "| speech-conv_snn | test/acc |" in folded
    assert "chance 12.5 %, linear 51.0 %" in text
    assert len(settings(rows(sample, excerpt))) == 2


def test_protocols_of_one_experiment_stand_together_and_papers_too():
    other = PAPER | {"key": "aaa2020", "title": "Another paper"}
    strict = PAPER | {"protocol": "strict"}
    names = {"p_b": PAPER, "p_a_strict": strict, "q": other, "p_a": PAPER, "p_b_strict": strict}
    results = [make_result(name=name, paper=paper, data=REAL) for name, paper in names.items()]
    lines = table_lines(results_table(rows(*results)))[2:]
    order = [line.split(" | ")[1] for line in lines]
    assert order == ["q", "p_a", "p_a_strict", "p_b", "p_b_strict"]


def test_settings_of_one_name_are_told_apart_by_what_the_command_changes():
    words = ["python", "-m", "snnexp", "-m", "experiment=x", "data=real", "seed=0,1"]
    more = ["+model.tau=2", "trainer.max_epochs=3"]
    plain, changed = (make_result(command=c, data=REAL) for c in (words, words + more))
    assert variation(rows_of(plain)[0]) == ""
    assert variation(rows_of(changed)[0]) == "+model.tau=2 trainer.max_epochs=3"
    assert "| speech-conv_snn, +model.tau=2 trainer" in results_table(rows(changed))


def test_the_readme_holds_the_table_of_the_results():
    """`make table` was run after the last change of outputs/results.csv."""
    root = Path(__file__).parents[2]
    table = results_table(read_rows(root / "outputs" / "results.csv"))
    readme = root / "README.md"
    assert rewritten(readme, table) == readme.read_text(encoding="utf-8"), "run: make table"


def test_each_seed_counts_once_by_its_latest_run():
    early = make_result(metrics=accuracy(0.1), id="a")
    late = make_result(metrics=accuracy(0.7), id="b", started="2026-02-01T00:00:00Z")
    (setting,) = settings(rows(late, early))
    assert setting.values("selected", "test/acc") == [0.7]


def test_folds_of_one_setting_are_averaged_with_their_baselines():
    config = {"seed": 0, "data_dir": "data", "task": {"n_folds": 3, "batch_size": 8}}
    caution = "subjects are unknown"

    def fold(k, value, linear, seed=0):
        return make_result(
            id=f"f{k}s{seed}",
            seed=seed,
            config=config | {"seed": seed, "task": config["task"] | {"fold": k}},
            data=REAL | {"fold": k, "folds": 3, "caution": caution},
            metrics=accuracy(value),
            baselines={"linear": linear},
            command=["python", "-m", "snnexp", "task=t", f"task.fold={k}"],
        )

    two = [fold(0, 0.9, 0.5), fold(2, 0.8, 0.6)]
    text = results_table(rows(*two))
    assert "**On real data, without a paper's claim**" in text
    assert (
        f"| speech-conv_snn | {caution} | test/acc | chosen on val "
        "| 85.0 ± 7.1 % (n = 2, folds 2 of 3) | linear 55.0 % |"
    ) in text
    again = results_table(rows(*two, fold(2, 0.7, 0.6, seed=1)))
    assert "80.0 ± 10.0 % (n = 3, folds 2 of 3)" in again


def test_failed_runs_are_listed_until_the_same_run_completes():
    error = "Traceback (most recent call last):\n  File x\nRuntimeError: loss | is <NaN>"
    failed = make_result(seed=4, status="failed", error=error, metrics=accuracy(0, selected={}))
    text = results_table(rows(failed))
    assert "| 4 | failed | RuntimeError: loss \\| is &lt;NaN> | 0123456 |" in text
    assert "File x" not in text
    redone = make_result(seed=4, id="later", started="2026-02-01T00:00:00Z")
    assert "did not finish" not in results_table(rows(failed, redone))


def test_trivial_predictors_of_another_figure_stand_elsewhere():
    metrics = accuracy(0.9) | {"selected": {"test/acc": 0.9, "test/auc": 0.95}}
    result = make_result(metrics=metrics, baselines={"linear": 0.5, "linear_auc": 0.7})
    text = results_table(rows(result))
    assert "| linear 50.0 % |" in text
    assert "linear_auc" not in text


def test_depth_is_shown_in_centimetres():
    metrics = {"select_on": "val", "monitor": "val/mde_cm", "selected": {"test/mde_cm": 16.5432}}
    result = make_result(metrics=metrics, baselines={"mean_depth": 60.0})
    text = results_table(rows(result))
    assert "| 16.54 cm (n = 1) | mean_depth 60 cm |" in text


def test_readme_is_rewritten_between_its_markers_only(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n")
    assert write_table(readme, rows(make_result()))
    text = readme.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\n\nrest\n")
    assert "\nold\n" not in text
    assert not write_table(readme, rows(make_result()))
    assert write_table(readme, [])
    assert "No runs collected yet." in readme.read_text()


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"])
def test_a_readme_without_markers_is_left_alone(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(RecordError, match="results:begin"):
        write_table(readme, [])
    assert readme.read_text() == text
