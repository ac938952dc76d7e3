"""The mnist task: sample, layouts of real files, splits, bad files."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from snnexp.data import download, idx, idx_task
from snnexp.data.base import DataError, Part
from tasks.mnist import sample
from tasks.mnist.datamodule import MNIST, MNISTTask
from tests.tasks.image_tasks import build, make, tree
from tests.tasks.one_file import taken_up


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def real(tmp_path):
    """A small set in the layout of the real one."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    sample.make_sample(folder)
    return tmp_path


def test_the_sample_is_digits_and_a_real_problem(cache):
    task = make("mnist", cache)
    assert task.sizes() == {"train": 1227, "val": 210, "test": 360}
    spec = task.spec
    assert (spec.step_shape, spec.n_steps, spec.static) == ((1, 28, 28), None, True)
    assert spec.classes == tuple("0123456789")
    assert "scikit-learn" in task.report().source
    figures = task.baselines()
    assert figures["chance"] == pytest.approx(0.1, abs=0.02)
    assert 0.8 < figures["linear"] < 0.93


def test_the_sample_has_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        sample.make_sample(tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert set(tree(tmp_path / "a")) == {f"{stem}.gz" for stem in idx.STEMS.values()}


def test_batches(cache):
    task = make("mnist", cache, "task.batch_size=64")
    batch = next(iter(task.val_dataloader()))
    assert batch["input"].shape == (64, 1, 28, 28)
    assert batch["input"].dtype == torch.float32
    assert batch["target"].dtype == torch.int64
    assert batch["index"].tolist() == list(range(64))
    raw = make("mnist", cache, "task.normalise=none").datasets["val"][5]
    assert raw["input"].dtype == torch.uint8
    scaled = (raw["input"].float() / 255 - 0.1307) / 0.3081
    torch.testing.assert_close(batch["input"][5], scaled, atol=1e-5, rtol=1e-5)


def test_splits_share_no_image(cache):
    whole = make("mnist", cache, "task.val_by=none")
    assert whole.sizes() == {"train": 1437, "val": 0, "test": 360}
    rows = {}
    for by in ("tail", "random"):
        task = make("mnist", cache, f"task.val_by={by}")
        images = task.images
        rows[by] = images["val"].pixels
        # every training image of the file is in one of the two, in the order of the file
        both = torch.cat([images["train"].pixels, images["val"].pixels]).flatten(1)
        assert len(both) == 1437
        first = [tuple(p.tolist()) for p in both]
        file = [tuple(p.tolist()) for p in whole.images["train"].pixels.flatten(1)]
        assert sorted(first) == sorted(file)
        positions = [file.index(p) for p in first[: len(images["train"].labels)]]
        assert positions == sorted(positions)
    assert not torch.equal(rows["tail"], rows["random"])


def test_augmentation_is_for_training_only(cache):
    task = make(
        "mnist",
        cache,
        "task.augment={_target_:snnexp.data.image_batch.RandomAffine,degrees:30.0,"
        "translate:0.15,scale:[0.85,1.11]}",
        "task.normalise=none",
    )
    for split, changes in (("train", True), ("val", False), ("test", False)):
        x = task.datasets[split].__getitems__(list(range(20)))["input"]
        assert x.dtype == torch.uint8
        assert torch.equal(x, task.images[split].pixels[:20]) is not changes


@pytest.mark.parametrize("inside", ["", "MNIST", "MNIST/raw"])
def test_real_files_are_found_above_and_in_their_folder(real, cache, inside):
    task = make("mnist", cache, "data=real", f"data_dir={real / inside}")
    assert task.sizes() == {"train": 1227, "val": 210, "test": 360}
    report = task.report()
    assert report.excerpt == "1,437 of 60,000 training and 360 of 10,000 test images"
    assert report.source == f"MNIST, an excerpt: {report.excerpt}"
    assert report.variant == "real"


def test_a_complete_set_is_no_excerpt(real, cache, monkeypatch):
    """60,000 images would take seconds; the counts of the set at hand stand for them."""
    labels = idx.read_idx(next((real / "MNIST/raw").glob("train-labels*")), 1)
    monkeypatch.setattr(idx_task, "OFFICIAL", {"train": 1437, "test": 360})
    known = replace(MNIST, labels=idx.digest(labels))
    monkeypatch.setattr(MNISTTask, "published", known)
    report = make("mnist", cache, "data=real", f"data_dir={real}").report()
    assert (report.source, report.excerpt) == ("MNIST, complete", "")


@pytest.fixture
def published(monkeypatch):
    """Let the official addresses be a folder."""

    def serve(folder):
        files = tuple(
            replace(
                r,
                urls=((folder / r.name).as_uri(),),
                checksum=f"md5:{hashlib.md5((folder / r.name).read_bytes()).hexdigest()}"
                if (folder / r.name).exists()
                else r.checksum,
            )
            for r in MNIST.files
        )
        monkeypatch.setattr(MNISTTask, "published", replace(MNIST, files=files))
        monkeypatch.setattr(download.time, "sleep", lambda seconds: None)

    return serve


def test_missing_files_are_downloaded(real, tmp_path, cache, published):
    published(real / "MNIST" / "raw")
    task = make("mnist", cache, "data=real", f"data_dir={tmp_path / 'fresh'}")
    assert task.sizes()["test"] == 360
    assert (tmp_path / "fresh" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").is_file()


def test_missing_files_are_said_with_what_to_do(tmp_path, cache, published):
    published(tmp_path / "gone")
    with pytest.raises(DataError, match="no IDX files of MNIST in") as caught:
        build("mnist", cache, "data=real", f"data_dir={tmp_path}").prepare_data()
    for word in ("train-images-idx3-ubyte.gz", "<data_dir>/MNIST/raw", "data_dir="):
        assert word in str(caught.value)


def test_another_complete_set_is_no_mnist(tmp_path, cache):
    """Same layout and size, other labels: Fashion-MNIST in the folder of MNIST, say."""
    for part, n in (("train", 60_000), ("test", 10_000)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        idx.write_idx(tmp_path / f"{idx.STEMS[part, 'labels']}.gz", labels)
        images = np.zeros((n, 28, 28), np.uint8)
        idx.write_idx(tmp_path / f"{idx.STEMS[part, 'images']}.gz", images)
    with pytest.raises(DataError, match="not those of MNIST"):
        make("mnist", cache, "data=real", f"data_dir={tmp_path}")


def test_figures_are_drawn(cache, tmp_path):
    from snnexp.data.base import Predictions

    task = make("mnist", cache)
    target = task.images["test"].labels[:40]
    scores = torch.nn.functional.one_hot((target + (target == 3)) % 10, 10).float()
    paths = task.figures("test", Predictions(scores, target, torch.arange(40)), tmp_path)
    assert [p.name for p in paths] == ["test_images.png"]
    assert paths[0].stat().st_size > 5000


def test_a_picture_or_an_idx_file_alone_is_as_in_the_data_set(cache, tmp_path):
    task = make("mnist", cache)
    fresh = taken_up(task, build("mnist", tmp_path / "none"), tmp_path / "run")
    (file,) = task.locate().glob("t10k-images*")
    found = fresh.read_input(file)
    assert len(found) == 360
    expected = task.datasets["test"].__getitems__(range(360))["input"]
    assert torch.equal(torch.stack([o.input for o in found]), expected)
    (one,) = fresh.read_input(file, Part(index=7))
    assert torch.equal(one.input, task.datasets["test"][7]["input"])
    image = Image.fromarray(task.images["test"].pixels[7, 0].numpy())
    image.save(tmp_path / "seven.png")
    (same,) = fresh.read_input(tmp_path / "seven.png")
    assert torch.equal(same.input, one.input)
    assert same.notes == ()
    image.resize((56, 56)).convert("RGB").save(tmp_path / "large.png")
    (large,) = fresh.read_input(tmp_path / "large.png")
    assert large.notes == ("converted from RGB to L", "resized from 56 x 56 to 28 x 28")
    assert large.input.shape == (1, 28, 28)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.jpg cannot be decoded"):
        fresh.read_input(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"reads .*files without an ending"):
        fresh.read_input(file.rename(tmp_path / "a.wav"))
