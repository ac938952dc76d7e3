import numpy as np
import pytest
from PIL import Image

from snnexp.report.collect import rows_of
from snnexp.report.pictures import keep, picture
from snnexp.report.record import RecordError
from tests.report.conftest import make_result


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / make_result().id
    (folder / "figures").mkdir(parents=True)
    make_result().write(folder)
    x = np.linspace(0, 255, 2000 * 900).reshape(900, 2000)
    Image.fromarray(np.stack([x, x.T.reshape(900, 2000), 255 - x], -1).astype(np.uint8)).save(
        folder / "figures" / "raster.png"
    )
    return folder


def test_pictures_are_kept_small_with_a_line_on_each(run, tmp_path):
    figures = tmp_path / "figures"
    (kept,) = keep([run], rows_of(make_result()), figures)
    assert kept == figures / make_result().id / "raster.png"
    with Image.open(kept) as image:
        assert image.size == (1000, 450)
    assert kept.stat().st_size < (run / "figures" / "raster.png").stat().st_size
    readme = (figures / "README.md").read_text()
    assert "`python -m snnexp task=speech`, sample data, commit 0123456789:" in readme
    assert f"[raster]({make_result().id}/raster.png)" in readme


def test_the_figure_of_benchmarks_is_named_where_it_is(run, tmp_path):
    figures = tmp_path / "figures"
    for there in (False, True):
        keep([run], rows_of(make_result()), figures)
        assert ("[scaling](scaling.svg)" in (figures / "README.md").read_text()) == there
        (figures / "scaling.svg").touch()


def test_only_collected_complete_runs_with_pictures_are_kept(run, tmp_path):
    rows = rows_of(make_result())
    with pytest.raises(RecordError, match=r"not in results\.csv"):
        keep([run], [], tmp_path / "figures")
    with pytest.raises(RecordError, match=r"no curves among its figures/\*\.png \(raster\)"):
        keep([run], rows, tmp_path / "figures", only=["curves"])
    (run / "figures" / "raster.png").unlink()
    with pytest.raises(RecordError, match=r"no picture among .*there are none"):
        keep([run], rows, tmp_path / "figures")
    make_result(status="failed", error="x").write(run)
    with pytest.raises(RecordError, match="failed; figures are kept of complete runs only"):
        keep([run], rows, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_titles_and_what_cannot_be_read(run, tmp_path):
    raster = run / "figures" / "raster.png"
    for name, title in (
        ("test_depth", "Depth maps: input, target, prediction"),
        ("histograms_test", "Histograms"),
        ("test_recording", "Recording"),
    ):
        file = raster.rename(raster.with_stem(name))
        assert picture(file, "x").title == title
        raster = file
    raster.write_bytes(raster.read_bytes()[:500])
    assert "cannot be read" in picture(raster, "x").problem
    assert picture(raster, "x").uri == ""
