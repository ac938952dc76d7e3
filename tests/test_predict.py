"""From a file to probabilities, rates and pictures, in a folder of its own."""

import json
import re

import numpy as np
import pytest
import torch

import snnexp
from snnexp.config.compose import quoted
from snnexp.predict import main
from snnexp.report.prediction import draw_depth
from tests.training.toy import toy_task


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = torch.stack([toy_task().datasets["test"][i]["input"] for i in range(10)])
    np.save("one.npy", items[0].numpy())
    np.save("ten, (of) them.npy", items.numpy())
    return tmp_path


def predicted(run, *words):
    main([f"run={run}", "trust=true", "accelerator=cpu", *words])


def test_one_file(finished, here, capsys):
    predicted(finished, "input=one.npy")
    folder = here / "predictions" / "one"
    record = json.loads((folder / "prediction.json").read_text())
    (one,) = record["inputs"]
    assert list(one["probabilities"]) == list(
        snnexp.load(finished, trust=True).predict("one.npy")[0].probabilities
    )
    assert one["firing"]["samples"] == 1
    assert one["operations"]["energy_nj"] > 0
    assert one["figures"] == ["raster.png"]
    assert (folder / "raster.png").stat().st_size > 5000
    assert record["checkpoint"]["path"] == "checkpoints/best.ckpt"
    assert record["run"].startswith("toy/seed3/")
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("probability", "rate, % of steps", "energy, nJ", "predictions/one", "task.pt"):
        assert word in shown, word


def test_nothing_is_overwritten(finished, here, capsys):
    for _ in range(2):
        predicted(finished, "input=one.npy")
    assert sorted(p.name for p in (here / "predictions").iterdir()) == ["one", "one-2"]
    predicted(finished, "input=one.npy", "output=mine")
    assert (here / "mine" / "prediction.json").is_file()
    with pytest.raises(SystemExit):
        predicted(finished, "input=one.npy", "output=mine")
    assert "is there already" in " ".join(capsys.readouterr().err.split())


def test_a_file_of_many_inputs(finished, here, capsys):
    predicted(finished, "input=ten, (of) them.npy")
    folder = here / "predictions" / "ten, (of) them"
    record = json.loads((folder / "prediction.json").read_text())
    assert [i["name"] for i in record["inputs"]] == [f"item {i}" for i in range(10)]
    assert len(list(folder.glob("raster_*.png"))) == 8
    assert "item 9" in capsys.readouterr().out
    predicted(finished, "input=ten, (of) them.npy", "index=9", "output=last")
    (one,) = json.loads((here / "last" / "prediction.json").read_text())["inputs"]
    assert one["probabilities"] == record["inputs"][9]["probabilities"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input=two.npy"], "two.npy: no such file"),
        ([], "input: a value is required"),
        (["input=one.npy", "indx=1"], "indx: no such key"),
        (["input=one.npy", "index=one"], "index"),
        (["input=one.npy", "index=1"], "inputs 0 to 0"),
        (["input=one.npy", "checkpoint=never.ckpt"], "expected best, last or a file"),
    ],
)
def test_mistakes_leave_no_folder(finished, here, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        predicted(finished, *words)
    assert end.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (here / "predictions").exists()


def test_paths_are_quoted_for_hydra():
    keys = ("input",)
    assert quoted("input=a.wav", keys) == "input='a.wav'"
    assert quoted("input=it's, (a).wav", keys) == r"input='it\'s, (a).wav'"
    for word in ("input='a b.wav'", "index=1", "input=", "input=null", "--help"):
        assert quoted(word, keys) == word


def test_depth_is_drawn_beside_the_truth_where_that_is_known(tmp_path):
    depth = np.linspace(1, 3, 48, dtype=np.float32).reshape(6, 8)
    truth = depth + 0.1
    truth[0] = np.nan
    for name, true in (("a", None), ("b", truth), ("c", np.full_like(truth, np.nan))):
        draw_depth(depth, true, "a frame", tmp_path / f"{name}.png")
    size = {p.stem: p.stat().st_size for p in tmp_path.iterdir()}
    assert size["b"] > 1.5 * size["a"]
    assert size["c"] == pytest.approx(size["a"], rel=0.1)
