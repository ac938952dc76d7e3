"""Scaling is measured at the sizes that its rows name, and drawn from the rows alone."""

import io

import pytest
from rich.console import Console

from scripts import bench_scaling, bench_steps, draw_scaling
from scripts.bench_kernels import Bench
from scripts.bench_peers import PEERS, Peer
from scripts.bench_record import Origin, Row, append
from scripts.draw_scaling import BY_BATCH, BY_N, BY_T, LOOKS, draw, last_run
from tests.scripts.test_bench_steps import small

QUIET = Console(file=io.StringIO())
OF = Origin(date="2026-01-01", commit="abc", dirty=False, command="python -m x")


def measured(n, t, monkeypatch, largest=10**9):
    monkeypatch.setattr(bench_scaling, "LARGEST_FOR_ALL", largest)
    plain = Peer("torch", 1.0, lambda: bench_scaling.layers(None, {}, True)["reference"][0])
    bench = Bench(QUIET, seconds=0, kept=True)
    bench_scaling.point(bench, BY_T, n, t, {"spikingjelly": plain, "norse": plain})
    return {row.provider: row for row in bench.rows}


def test_a_point_of_the_layer_holds_its_size_time_and_memory(monkeypatch):
    rows = measured(64, 5, monkeypatch)
    assert list(rows) == ["cpu", "reference", "spikingjelly", "norse"]
    assert {(r.n, r.t) for r in rows.values()} == {(64, 5)}
    assert all(r.ms > 0 for r in rows.values())
    # input and its gradient, the spikes' gradient and the spikes are there at once
    assert min(r.peak_bytes for r in rows.values()) >= 4 * 64 * 5 * 4
    assert rows["cpu"].ratio == pytest.approx(rows["spikingjelly"].ms / rows["cpu"].ms)


def test_slow_peers_are_left_out_of_large_layers(monkeypatch):
    assert "norse" not in measured(64, 5, monkeypatch, largest=1)


def test_a_step_is_measured_at_each_batch(monkeypatch):
    monkeypatch.setitem(bench_steps.NETS, "tiny", small())
    monkeypatch.setattr(bench_scaling, "find_spec", lambda name: None)
    rows = bench_scaling.steps_by_batch(QUIET, "tiny", [1, 8], repeats=1)
    assert [(r.what, r.n, r.provider) for r in rows] == [
        (f"{BY_BATCH}tiny", 1, "snnexp"),
        (f"{BY_BATCH}tiny", 8, "snnexp"),
    ]
    assert rows[0].peak_bytes < rows[1].peak_bytes


def row(what, n, t, provider, ms=1.0):
    return Row(what=what, n=n, t=t, dtype="float32", provider=provider, device="x", threads=2,
               ms=ms, peak_bytes=2**20)  # fmt: skip


SOME = [
    *(row(f"{BY_T} (memory kept)", 64, t, p, t) for t in (1, 4) for p in ("cpu", "norse")),
    *(row(f"{BY_N} (memory kept)", n, 16, p, n) for n in (64, 2048) for p in ("cpu", "reference")),
    *(row(f"{BY_BATCH}tiny", b, 8, p, b) for b in (4, 8) for p in ("snnexp", "spikingjelly")),
]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_figure_is_drawn_from_a_csv(tmp_path, suffix):
    append(tmp_path / "bench.csv", SOME, OF)
    file = tmp_path / "deep" / f"scaling.{suffix}"
    draw(last_run(tmp_path / "bench.csv"), file)
    first = file.read_bytes()
    draw(last_run(tmp_path / "bench.csv"), file)
    assert file.read_bytes() == first
    assert len(first) > 5_000


def test_every_line_is_where_the_rows_say(tmp_path, monkeypatch):
    append(tmp_path / "bench.csv", SOME, OF)
    seen = []

    def keep(figure, *args, **options):
        seen.append(figure)
        original(figure, *args, **options)

    original = draw_scaling.Figure.savefig
    monkeypatch.setattr(draw_scaling.Figure, "savefig", keep)
    draw(last_run(tmp_path / "bench.csv"), tmp_path / "scaling.svg")
    (figure,) = seen
    panels = figure.get_axes()
    assert len(panels) == 6
    lines = {line.get_label(): line for line in panels[0].get_lines()}
    assert set(lines) == {"snnexp", "Norse"}
    assert lines["snnexp"].get_xydata().tolist() == [[1, 1], [4, 4]]
    assert panels[5].get_lines()[0].get_xydata().tolist() == [[4, 1], [8, 1]]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["snnexp", "SpikingJelly", "plain torch loop", "Norse"]


def test_only_the_last_run_is_drawn(tmp_path):
    path = tmp_path / "bench.csv"
    append(path, SOME, OF)
    append(path, SOME[:2], Origin(date="2026-01-02", commit="def", dirty=False, command="x"))
    append(path, [row("lif inference", 64, 16, "cpu")], OF)
    assert {r["commit"] for r in last_run(path)} == {"def"}
    assert len(last_run(path)) == 2


def test_a_csv_without_rows_of_scaling_is_named(tmp_path):
    path = tmp_path / "bench.csv"
    with pytest.raises(ValueError, match=r"bench\.csv is not there"):
        last_run(path)
    path.write_text("")
    with pytest.raises(ValueError, match=r"has the columns \(none\), expected what, n, t"):
        last_run(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has the columns a, b, expected what, n, t"):
        last_run(path)
    path.unlink()
    append(path, [row("lif inference", 64, 16, "cpu")], OF)
    with pytest.raises(ValueError, match=r"no row of scripts\.bench_scaling; record some by"):
        last_run(path)


def test_what_cannot_be_drawn_is_named(tmp_path):
    path = tmp_path / "bench.csv"
    append(path, SOME, OF)
    with pytest.raises(ValueError, match=r"ends in '.doc', expected one of .svg, .png, .pdf"):
        draw(last_run(path), tmp_path / "scaling.doc")
    append(path, [row(f"{BY_BATCH}tiny", 4, 8, "newcomer")], OF)
    with pytest.raises(ValueError, match=r"no line is described for \['newcomer'\]"):
        draw(last_run(path), tmp_path / "scaling.svg")
    assert LOOKS.keys() >= {*PEERS, "cpu", "reference", bench_steps.OURS, bench_steps.PEER}
