import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from snnexp.report.__main__ import main
from snnexp.report.show import compare, show
from snnexp.report.table import BEGIN, END
from snnexp.report.units import baseline_figure, duration, number, quantity, size
from tests.report.conftest import PAPER, make_result


def printed(draw, *results):
    text = io.StringIO()
    draw(*results, Console(file=text, width=140))
    return text.getvalue()


def test_show_prints_outcome_activity_cost_and_origin():
    text = printed(show, make_result())
    for expected in (
        "93.0 %", "92.0 %", "linear", "51.0 %", "neurons.0", "4.00", "2,560", "AC", "1,800.0",
        "4.6 pJ", "131,535 parameters", "514 KiB", "3 min 0 s", "backend cpu", "commit 0123456789",
        "python -m snnexp task=speech", "made by this repository", "data=real",
    ):  # fmt: skip
        assert expected in text, expected


def test_show_sets_a_claim_beside_real_data_only():
    real = {"variant": "real", "source": "v0.01", "sizes": {}}
    assert "94.5 %" in printed(show, make_result(paper=PAPER, data=real))
    assert "94.5 %" not in printed(show, make_result(paper=PAPER))
    excerpt = real | {"excerpt": "3 % of the clips"}
    text = printed(show, make_result(paper=PAPER, data=excerpt))
    assert "94.5 %" not in text
    assert "3 % of the clips" in text


def test_show_a_run_that_failed_at_once():
    text = printed(
        show,
        make_result(
            status="failed", error="Traceback\nValueError: [bold]no such class[/]", data=None,
            firing=None, operations=None, size=None, confusion=None, cost=None, baselines={},
            metrics={"select_on": "val", "monitor": "val/acc"},
            code={"commit": None, "dirty": None},
        ),
    )  # fmt: skip
    assert "failed" in text
    assert "ValueError: [bold]no such class[/]" in text
    assert "not in a git repository" in text


def test_compare_prints_what_differs_and_only_that():
    a = make_result(config={"seed": 0, "model": {"tau": 2.0, "same": 1}})
    b = make_result(
        seed=1, config={"seed": 1, "model": {"tau": 5.0, "same": 1, "new": [1]}},
        code={"commit": "f" * 40, "dirty": True},
    )  # fmt: skip
    b.metrics.selected = {"test/acc": 0.95, "test/recall/yes": 0.9}
    text = printed(compare, a, b)
    assert "model.tau" in text
    assert "model.new" in text
    assert "model.same" not in text
    assert "ffffffff" in text
    assert "+2.0" in text
    assert "test/recall" not in text
    assert "figures, last: 2 equal" in text
    b.firing.layers["neurons.0"].rate = 0.05
    assert re.search(r"test/rate/neurons\.0 +4\.0 % +5\.0 % +\+1\.0", printed(compare, a, b))
    b.metrics.selected["test/recall/yes"] = 0.5
    assert "1 of single classes: give --all" in printed(compare, a, b)
    text = printed(lambda *args: compare(*args, every=True), a, b)
    assert re.search(r"test/recall/yes +90\.0 % +50\.0 % +-40\.0", text)
    assert "config: no difference" in printed(compare, a, a)


def test_commands_from_folder_to_readme(run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert main(["collect", "--all"]) == 0
    assert main(["table", "--check"]) == 1
    assert main(["table"]) == 0
    assert main(["table", "--check"]) == 0
    assert "93.0 % (n = 1)" in readme.read_text()
    capsys.readouterr()
    assert main(["show", str(run_folder)]) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert str(run_folder) in shown
    assert main(["compare", str(run_folder), str(run_folder / "result.json")]) == 0
    assert main(["html", "--out", "report.html"]) == 0
    assert "93.0 % (n = 1)" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    (run_folder / "result.json").write_text("{")
    assert main(["collect", str(run_folder.parent)]) == 1
    assert "not a JSON file" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["collect"], "--all"),
        (["collect", "nowhere"], "no run's result.json"),
        (["show", "nowhere"], "no such file"),
        (["table"], "collect --all"),
        (["html"], "collect --all"),
        (["figures", "nowhere"], "collect --all"),
        (["list"], "from the repository's root"),
    ],
)
def test_command_errors_are_one_sentence(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 1
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["collect", "html", "table"])
def test_a_place_that_cannot_be_written_is_named_and_nothing_lost(
    command, run_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("<!-- results:begin -->\nold\n<!-- results:end -->\n")
    assert main(["collect", str(run_folder)]) == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(*words):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a file")

    monkeypatch.setattr(os, "fsync", full)
    assert main([command, *([str(run_folder)] if command == "collect" else [])]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("error: a file: No space left on device; files that were there")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_the_list_shows_claims_status_and_data(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main(["list", "--csv", "nowhere.csv"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"pellegrini2021_speech +94\.5 % \[1\] +not run here +unknown", shown)
    assert re.search(r"heads1 +25\.43 ± 0\.21 cm \[", shown)
    assert "[1] abstract (5.5 % error)" in shown
    assert "CHB-MIT" not in shown, "no experiment needs it"
    assert "fetched by data=real from" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_report_stands_alone():
    """The commands load neither torch nor any other part of snnexp."""
    script = (
        "import sys; import snnexp.report.__main__, snnexp.report.figures\n"
        "others = ('snnexp.', 'tasks', 'torch', 'lightning')\n"
        "found = [m for m in sys.modules if m.startswith(others)]\n"
        "print([m for m in found if not m.startswith('snnexp.report')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_units():
    assert quantity(0.9449, "test/acc") == "94.5 %"
    assert quantity(0.5, "test/recall/yes") == "50.0 %"
    assert quantity(0.5, "test/acc_ties_right") == "50.0 %"
    assert baseline_figure(
        "linear_balanced_acc", ["test/acc", "test/balanced_acc"], "test/acc"
    ) == ("test/balanced_acc")
    assert quantity(0.12345, "test/loss") == "0.1235"
    assert number(-0.004, "val/rate/lif", signed=True) == "-0.4"
    assert quantity(float("nan"), "test/acc") == "nan %"
    assert [duration(s) for s in (0.5, 59, 320)] == ["0.5 s", "59 s", "5 min 20 s"]
    assert duration(11100) == "3 h 5 min"
    assert [size(n) for n in (10, 526140, 1023 * 2**20, 3 * 2**30)] == [
        "10 B", "514 KiB", "1023 MiB", "3 GiB",
    ]  # fmt: skip
