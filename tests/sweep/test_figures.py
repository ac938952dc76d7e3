"""Aggregation, ranking, table and plot, against figures worked out by hand."""

import csv
from pathlib import Path

import pytest
from rich.console import Console

from snnexp.sweep import plot
from snnexp.sweep.figures import End, Scores, settings_of
from snnexp.sweep.jobs import Job
from snnexp.sweep.table import show_settings, write_jobs, write_settings


def end(number, seed, value, val, status="complete", metric="test/acc", by="val/acc", **varied):
    job = Job(number, (), {**varied, "seed": str(seed)}, "n", seed, f"{number:012d}")
    done = status == "complete"
    return End(
        job,
        status,
        run=f"runs/{number}" if done else None,
        error=None if done else "Traceback\n  of it\nDataError: no [file] there",
        scores=Scores(metric, value, by, val, "sample") if done else None,
    )


def accuracies():
    """Neuron b is better on the test set, a on the validation set: a must rank first."""
    return [
        end(1, 0, 0.70, 0.90, neuron="b"),
        end(2, 1, 0.80, 0.80, neuron="b"),
        end(3, 0, 0.60, 0.95, neuron="a"),
        end(4, 1, 0.62, 0.91, neuron="a"),
        end(5, 2, 0.67, 0.93, neuron="a"),
        end(6, 0, 0, 0, "failed", neuron="c"),
    ]


def test_settings_rank_by_the_validation_figure():
    first, second, third = settings_of(accuracies(), ["seed"])
    assert [s.varied for s in (first, second, third)] == [
        {"neuron": "a"},
        {"neuron": "b"},
        {"neuron": "c"},
    ]
    assert first.values() == [0.60, 0.62, 0.67]
    assert third.values() == []


def test_less_is_better_of_an_error():
    ends = [
        end(1, 0, 9.0, 9.0, metric="test/mde_cm", by="val/mde_cm", lr="1"),
        end(2, 0, 7.0, 7.0, metric="test/mde_cm", by="val/mde_cm", lr="2"),
    ]
    assert [s.varied["lr"] for s in settings_of(ends, ["seed"])] == ["2", "1"]


def test_where_the_test_set_selects_the_main_figure_ranks():
    ends = [end(1, 0, 0.5, None, lr="1"), end(2, 0, 0.6, None, lr="2")]
    assert [s.varied["lr"] for s in settings_of(ends, ["seed"])] == ["2", "1"]


def test_csv_has_mean_sample_deviation_and_counts(tmp_path):
    write_settings(tmp_path / "s.csv", settings_of(accuracies(), ["seed"]))
    with (tmp_path / "s.csv").open() as stream:
        a, b, c = csv.DictReader(stream)
    assert float(a["mean"]) == pytest.approx(0.63)
    # ((0.03^2 + 0.01^2 + 0.04^2) / 2)^(1/2)
    assert float(a["std"]) == pytest.approx(0.0013**0.5)
    assert float(a["val_mean"]) == pytest.approx(0.93)
    assert float(a["val_std"]) == pytest.approx(0.02)
    assert (a["n"], b["n"], c["n"], c["jobs"]) == ("3", "2", "0", "1")
    write_jobs(tmp_path / "j.csv", accuracies())
    with (tmp_path / "j.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[5]["error"] == "DataError: no [file] there"
    assert rows[0]["run"] == "runs/1"


def test_the_screen_names_what_failed():
    console = Console(record=True, width=100, highlight=False)
    show_settings(settings_of(accuracies(), ["seed"]), ["seed"], console)
    text = console.export_text()
    assert "93.0 ± 2.0 %" in text
    assert "63.0 ± 3.6 %" in text
    assert "failed job 6: neuron=c seed=0" in text
    assert "DataError: no [file] there" in text
    assert "Not the benchmark's data" in text


def grid(**axes):
    first, second = axes
    return [
        end(
            10 * i + j,
            seed,
            0.5 + 0.01 * i + 0.02 * j + 0.005 * seed,
            0.5,
            **{first: a, second: b},
        )
        for i, a in enumerate(axes[first])
        for j, b in enumerate(axes[second])
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("ends", "lines", "images"),
    [
        ([end(s, s, 0.5 + s / 10, 0.5) for s in range(3)], 2, 0),
        ([end(i, 0, 0.1 * i, 0.5, lr=str(10**-i)) for i in range(1, 4)], 1, 0),
        (accuracies(), 1, 0),
        (grid(lr=["0.1", "0.01"], neuron=["a", "b", "c"]), 3, 0),
        (grid(neuron=["a", "b"], loss=["x", "y"]), 0, 1),
        ([end(i, 0, 0.1, 0.5, a=str(i), b="1", c="2") for i in range(3)], 1, 0),
    ],
    ids=["seeds", "one number", "one name", "lines", "heat map", "ranked"],
)
def test_every_kind_of_plot(tmp_path, monkeypatch, ends, lines, images):
    seen = []

    def keep(figure, file, **options):
        seen.append(figure)
        Path(file).write_bytes(b"png")

    monkeypatch.setattr(plot.Figure, "savefig", keep)
    assert plot.draw(settings_of(ends, ["seed"]), tmp_path / "p.png")
    axes = seen[0].axes[0]
    drawn = [line for line in axes.lines if line.get_marker() == "o" or len(axes.lines) < 3]
    assert (len(drawn), len(axes.images)) == (lines, images)


def test_error_bars_are_the_sample_deviation(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(plot.Axes, "errorbar", lambda self, *a, **k: seen.append(a))
    monkeypatch.setattr(
        plot.Figure, "savefig", lambda self, file, **k: Path(file).write_bytes(b"png")
    )
    plot.draw(settings_of(accuracies(), ["seed"]), tmp_path / "p.png")
    _, means, spreads = seen[0]
    assert list(means) == pytest.approx([63.0, 75.0])
    assert list(spreads) == pytest.approx([100 * 0.0013**0.5, 100 * 0.005**0.5])


def test_nothing_finished_draws_nothing(tmp_path):
    ends = [end(1, 0, 0, 0, "failed", neuron="c")]
    assert plot.draw(settings_of(ends, ["seed"]), tmp_path / "p.png") is None
    assert not (tmp_path / "p.png").exists()
