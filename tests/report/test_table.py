from pathlib import Path

import pytest

from snnexp.report.collect import read_rows
from snnexp.report.record import RecordError
from snnexp.report.settings import settings
from snnexp.report.table import BEGIN, END, results_table, rewritten, write_table
from tests.report.conftest import EXCERPT, PAPER, REAL, accuracy, make_result, rows


def table_lines(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


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


def test_the_readme_holds_the_table_of_the_results():
    """`make table` was run after the last change of outputs/results.csv."""
    root = Path(__file__).parents[2]
    table = results_table(read_rows(root / "outputs" / "results.csv"))
    readme = root / "README.md"
    assert rewritten(readme, table) == readme.read_text(encoding="utf-8"), "run: make table"


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
