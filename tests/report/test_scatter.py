import pytest

from snnexp.report.collect import rows_of
from snnexp.report.scatter import scatters
from snnexp.report.settings import settings
from tests.report.conftest import make_result


def setting(name, value, rate, key="acc"):
    figures = {f"test/{key}": value} | ({"test/rate": rate} if rate is not None else {})
    metrics = {"select_on": "val", "monitor": f"val/{key}", "selected": figures, "last": figures}
    return make_result(name=name, metrics=metrics)


def plots(*results):
    return scatters(settings([row for result in results for row in rows_of(result)]))


def at(ticks, label):
    return next(tick.at for tick in ticks if tick.label == label)


def test_points_lie_where_the_axes_say():
    (plot,) = plots(setting("a", 0.9, 0.1), setting("b", 0.8, 0.02))
    first, second = plot.points
    assert first.x == pytest.approx(at(plot.x_ticks, "10"), abs=0.2)
    assert second.x == pytest.approx(at(plot.x_ticks, "2"), abs=0.2)
    assert first.y == pytest.approx(at(plot.y_ticks, "90"), abs=0.2)
    assert second.y == pytest.approx(at(plot.y_ticks, "80"), abs=0.2)
    assert first.text == "90.0 % at 10.0 % of steps"
    assert (plot.x_label, plot.y_label) == ("mean firing rate, % of steps", "accuracy, %")


@pytest.mark.parametrize(("value", "rate"), [(0.0, 0.0), (1.0, 1.0), (0.5, 1e-6)])
def test_one_point_stays_inside(value, rate):
    (plot,) = plots(setting("a", value, rate))
    (point,) = plot.points
    assert plot.left <= point.x <= plot.right
    assert plot.top <= point.y <= plot.bottom
    shares = [float(tick.label) for tick in (*plot.x_ticks, *plot.y_ticks)]
    assert 0 <= min(shares) <= max(shares) <= 100


def test_depth_has_a_plot_of_its_own_and_no_rate_no_point():
    found = plots(
        setting("a", 0.9, 0.1), setting("d", 18.5, 0.2, "mde_cm"), setting("no", 0.5, None)
    )
    assert [[p.name for p in plot.points] for plot in found] == [["a"], ["d"]]
    assert found[1].y_label == "mean depth error, cm"
    assert found[1].points[0].text == "18.5 cm at 20.0 % of steps"
