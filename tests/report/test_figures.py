import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from snnexp.report import figures
from snnexp.report.history import per_epoch, read_history
from snnexp.report.record import Confusion, RecordError
from tests.report.conftest import make_history, make_raster, make_result


def xs(line):
    return np.asarray(line.get_xdata()).tolist()


def ys(line):
    return np.asarray(line.get_ydata()).tolist()


def test_a_run_gets_its_four_pictures_and_nothing_else_changes(run_folder):
    before = dict(mpl.rcParams), mpl.get_backend(auto_select=False)
    paths = figures.draw_run(run_folder, run_folder / "figures")
    assert [p.name for p in paths] == ["curves.png", "rates.png", "confusion.png", "raster.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (run_folder / "figures").iterdir()) == sorted(
        p.name for p in paths
    )
    assert (dict(mpl.rcParams), mpl.get_backend(auto_select=False)) == before


def test_every_raster_is_drawn(run_folder):
    np.savez(run_folder / "raster_yes.npz", **make_raster())
    names = [p.name for p in figures.draw_run(run_folder, run_folder)]
    assert names[-2:] == ["raster.png", "raster_yes.png"]


def test_what_is_not_there_is_left_out(run_folder):
    (run_folder / "metrics.csv").unlink()
    (run_folder / "raster.npz").unlink()
    make_result(confusion=None).write(run_folder)
    assert figures.draw_run(run_folder, run_folder) == []


def test_curves_show_history_chosen_epoch_and_trivial_predictors():
    loss, accuracy = figures.curves(make_history(5), make_result()).axes
    train, validation, chosen = loss.lines[:3]
    assert xs(train) == [1, 2, 3, 4, 5]
    assert ys(validation)[0] == pytest.approx(2.25)
    assert xs(chosen) == [3, 3]
    assert ys(accuracy.lines[0])[0] == pytest.approx(30)
    levels = [ys(line)[0] for line in accuracy.lines[3:]]
    assert levels == [12.5, 51.0]


def test_curves_say_when_the_test_set_selects():
    metrics = {"select_on": "test", "monitor": "test/acc"}
    loss, _ = figures.curves(make_history(), make_result(metrics=metrics)).axes
    assert loss.lines[1].get_label() == "test (selects the epoch)"


def test_curves_leave_out_baselines_of_other_figures():
    result = make_result(baselines={"linear": 0.5, "linear_balanced_acc": 0.6, "linear_auc": 0.7})
    result.metrics.last = {"test/acc": 0.9, "test/balanced_acc": 0.9, "test/auc": 0.9}
    _, right = figures.curves(make_history(), result).axes
    assert [line.get_label() for line in right.lines[3:]] == ["linear, test (50.0 %)"]


def test_curves_of_a_single_epoch_and_of_another_figure():
    history = make_history(1).rename(columns={"val/acc": "val/mde_cm", "train/acc": "train/mde_cm"})
    metrics = {"select_on": "val", "monitor": "val/mde_cm"}
    _, right = figures.curves(history, make_result(metrics=metrics, baselines={})).axes
    assert right.get_ylabel() == "mean depth error, cm"
    assert ys(right.lines[0])[0] == pytest.approx(0.3)


def test_rates_in_percent_and_hertz():
    figure = figures.rates(make_history(layers=3), dt=0.002)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == [
        "neurons.0", "neurons.1", "neurons.2", "all neurons",
    ]  # fmt: skip
    assert ys(axes.lines[0])[0] == pytest.approx(12)
    (hz,) = axes.child_axes
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert hz.get_ylim() == pytest.approx((low / 0.2, high / 0.2))
    assert not figures.rates(make_history(), dt=None).axes[0].child_axes


@pytest.mark.parametrize("layers", [2, 20])
def test_rates_of_one_epoch_are_seen(layers):
    lines = figures.rates(make_history(epochs=1, layers=layers), dt=None).axes[0].lines
    assert len(lines) == layers + 1
    assert {line.get_marker() for line in lines} == {"o"}


def test_rates_of_many_layers_are_coloured_by_depth():
    figure = figures.rates(make_history(layers=20), dt=None)
    axes, bar = figure.axes
    assert len({line.get_color() for line in axes.lines}) == 21
    assert bar.get_ylabel() == "spiking layer, from the input"


def test_confusion_rows_are_shares_with_counts():
    matrix = Confusion(
        split="test", classes=["a", "b", "c"], counts=[[3, 1, 0], [0, 2, 0], [0] * 3]
    )
    axes, _ = figures.confusion(matrix, "run").axes
    texts = {t.get_position(): t.get_text() for t in axes.texts}
    assert texts == {(0, 0): "75\n(3)", (1, 0): "25\n(1)", (1, 1): "100\n(2)"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a (4)", "b (2)", "c (0)"]
    assert axes.get_title() == "run\ntest accuracy 83.3 %"


@pytest.mark.parametrize(("classes", "texts"), [(30, "100"), (50, None)])
def test_confusion_of_many_classes_prints_less(classes, texts):
    names = [str(i) for i in range(classes)]
    counts = (2 * np.eye(classes, dtype=int)).tolist()
    axes, _ = figures.confusion(Confusion(split="test", classes=names, counts=counts)).axes
    assert {t.get_text() for t in axes.texts} == ({texts} if texts else set())


def test_raster_draws_every_spike_at_its_time(tmp_path):
    arrays = make_raster(layers=2)
    np.savez(tmp_path / "raster.npz", **arrays)
    figure = figures.raster(tmp_path / "raster.npz")
    top, first, second = figure.axes
    assert np.asarray(top.images[0].get_array()).shape == (40, 101)
    for axes, name in ((first, "neurons.0 channel 0"), (second, "neurons.1 channel 7")):
        rows, times = np.nonzero(arrays[f"spikes_{name}"])
        points = np.asarray(axes.collections[0].get_offsets())
        np.testing.assert_allclose(points, np.stack([(times + 0.5) * 0.01, rows], 1))
        assert axes.get_title(loc="left").startswith(name.replace(" channel", ", channel"))
    assert second.get_xlabel() == "time, s"
    assert second.get_xlim() == pytest.approx((0, 1.02))


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"dt": 0.0}, "time step"),
        ({"dt": 0.001}, "time, ms"),
        ({"input": np.zeros((4, 1)), "dt": 0.0}, "time step"),
    ],
)
def test_raster_without_time_or_signal(tmp_path, change, label):
    np.savez(tmp_path / "raster.npz", **(make_raster() | change))
    figure = figures.raster(tmp_path / "raster.npz")
    figure.draw_without_rendering()
    assert figure.axes[-1].get_xlabel() == label


def test_raster_below_an_image_without_time(tmp_path):
    image = {"input": np.eye(28), "static": True, "dt": 0.0, "spikes_out": np.eye(10, 256)}
    np.savez(tmp_path / "raster.npz", **(make_raster(layers=1) | image))
    top, hidden, out = figures.raster(tmp_path / "raster.npz").axes
    assert np.asarray(top.images[0].get_array()).shape == (28, 28)
    assert top.get_xlim() == (-0.5, 27.5)
    assert hidden.get_xlim() == out.get_xlim() == (0, 256)
    assert hidden.get_ylabel() == "position"
    assert out.get_ylabel() == "neuron"


def test_spikes_of_a_single_step_are_maps(tmp_path):
    fired = np.zeros((6, 8, 1), bool)
    fired[2, 3] = True
    arrays = {"input": np.eye(12, 16), "title": "depth", "dt": 0.05, "static": True}
    np.savez(tmp_path / "raster.npz", **arrays, **{"spikes_bottom channel 4": fired})
    shown, below, *empty = figures.raster(tmp_path / "raster.npz").axes
    np.testing.assert_array_equal(np.asarray(shown.images[0].get_array()), np.eye(12, 16))
    np.testing.assert_array_equal(np.asarray(below.images[0].get_array()), fired[..., 0])
    assert below.get_title() == "bottom, channel 4\n2.1 % fired"
    assert not any(axes.axison for axes in empty)


def test_raster_of_a_deep_network_shows_some_layers(tmp_path):
    np.savez(tmp_path / "raster.npz", **make_raster(layers=17))
    figure = figures.raster(tmp_path / "raster.npz")
    titles = [axes.get_title(loc="left") for axes in figure.axes[1:]]
    assert len(titles) == figures.RASTER_LAYERS
    assert titles[0].startswith("neurons.0,")
    assert titles[-1].startswith("neurons.16,")
    assert "6 of 17" in figure.axes[0].get_title()


def test_damaged_files_are_named(tmp_path, run_folder):
    file = run_folder / "raster.npz"
    file.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RecordError, match=r"raster\.npz: not a raster file"):
        figures.draw_run(run_folder, tmp_path)
    np.savez(file, input=np.zeros((2, 2)))
    with pytest.raises(RecordError, match="title"):
        figures.raster(file)
    (run_folder / "metrics.csv").write_text("")
    with pytest.raises(RecordError, match=r"metrics\.csv: not a table"):
        read_history(run_folder)
    (run_folder / "metrics.csv").write_text("epoch,val/acc\n0,1\n")
    with pytest.raises(RecordError, match="no column step"):
        read_history(run_folder)


def test_history_of_lightnings_logger_is_sparse(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train/loss,val/acc\n0,9,,0.5\n0,9,1.5,\n1,19,,0.6\n1,19,0.5,\n"
    )
    history = read_history(tmp_path)
    assert list(per_epoch(history, "val/acc")) == [0.5, 0.6]
    assert list(per_epoch(history, "train/loss").index) == [0, 1]
    assert per_epoch(history, "absent").empty
    assert isinstance(per_epoch(history, "val/acc"), pd.Series)
