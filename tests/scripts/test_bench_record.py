import csv

import pytest

from scripts.bench_record import COLUMNS, Origin, Row, append, beside, origin
from scripts.bench_record import read as read_rows

ROW = Row(what="lif forward", n=4096, t=16, dtype="float32", provider="cpu", device="x", ms=0.5)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_appended_below_one_header(tmp_path):
    path = tmp_path / "deep" / "bench.csv"
    of = Origin(date="2026-01-01", commit="abc", dirty=False, command="python -m x")
    append(path, [ROW], of)
    append(path, [ROW, ROW], of)
    rows = read(path)
    assert len(rows) == 3
    assert list(rows[0]) == COLUMNS
    assert rows[2]["ms"] == "0.5"
    assert rows[2]["commit"] == "abc"
    assert rows[2]["peak_bytes"] == ""


def test_a_file_of_another_schema_is_left_alone(tmp_path):
    path = tmp_path / "bench.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has the columns a, b, expected what"):
        append(path, [ROW], origin("scripts.x"))
    assert path.read_text() == "a,b\n1,2\n"


def test_a_commit_is_taken_on_trust_only_without_git(monkeypatch, tmp_path):
    monkeypatch.setattr("scripts.bench_record.ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin("scripts.x", commit="abc").commit == "abc"
    assert origin("scripts.x").dirty is None


def test_a_command_holds_no_path_of_the_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x.py", "--seconds", "2", "--record", "/home/me/rows.csv"])
    assert origin("scripts.x").command == "python -m scripts.x --seconds 2 --record ..."


def test_programs_are_related_to_ours_and_ours_to_the_first_peer():
    ms = {"snnexp": 1.0, "snnexp, cached": 0.5, "torch": 4.0, "numpy": 8.0}
    rows = beside("x", 7, 3, "int16", ms, dict.fromkeys(ms, 2), package="rich")
    assert [(r.ratio_to, r.ratio) for r in rows] == [
        ("torch", 4.0),
        ("snnexp", 2.0),
        ("snnexp", 0.25),
        ("snnexp", 0.125),
    ]
    assert [(r.peer or "").split()[0] for r in rows] == ["rich", "rich", "torch", "numpy"]
    (alone,) = beside("x", 7, 3, "int16", {"snnexp": 1.0}, {"snnexp": 2})
    assert (alone.ratio_to, alone.ratio) == (None, None)


def test_rows_are_read_as_they_were_written(tmp_path):
    append(tmp_path / "bench.csv", [ROW], Origin(date="d", commit=None, dirty=None, command="c"))
    (row,) = read_rows(tmp_path / "bench.csv")
    assert (row["what"], row["n"], row["commit"]) == ("lif forward", "4096", "")
