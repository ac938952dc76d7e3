"""The caltech task: sample, folders, splits, contrast maps, damaged files."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from PIL import Image

from snnexp.data import download
from snnexp.data.base import DataError
from tasks.caltech import datamodule, sample
from tasks.caltech.datamodule import contrast
from tests.tasks.image_tasks import build, make, tree
from tests.tasks.one_file import taken_up


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def few(cache, tmp_path):
    """Twelve pictures of each class, as a real set of our own that may be damaged."""
    source = build("caltech", cache).locate()
    for kind in ("Faces", "Motorbikes"):
        own = tmp_path / sample.FOLDER / kind
        own.mkdir(parents=True)
        for n in range(1, 13):
            shutil.copy(source / kind / f"image_{n:04d}.jpg", own)
    return tmp_path


def real(cache, folder, *words):
    return make(
        "caltech",
        cache,
        "data=real",
        f"data_dir={folder}",
        "task.n_train=8",
        "task.n_test=null",
        *words,
    )


def test_the_sample_is_a_real_problem(cache):
    task = make("caltech", cache)
    assert task.sizes() == {"train": 320, "val": 80, "test": 396}
    assert task.spec.step_shape == (1, 40, 60)
    assert task.spec.classes == ("Faces", "Motorbikes")
    figures = task.baselines()
    assert figures["chance"] == pytest.approx(0.5)
    assert figures["linear"] < 0.75


def test_the_sample_has_the_same_bytes_each_time(cache, tmp_path):
    sample.make_sample(tmp_path)
    assert tree(tmp_path / sample.FOLDER) == tree(build("caltech", cache).locate())


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3), ("contrast", 2)])
def test_colours(few, cache, colour, channels):
    task = real(cache, few, f"task.colour={colour}", "task.normalise=none")
    assert task.spec.step_shape == (channels, 40, 60)
    item = task.datasets["train"][0]["input"]
    assert (item.shape, item.dtype) == ((channels, 40, 60), torch.uint8)
    assert item.float().std() > 1


@pytest.mark.parametrize("split", ["random", "order"])
def test_the_split_is_disjoint_and_as_large_as_asked(few, cache, split):
    task = real(cache, few, f"task.split={split}", "task.n_test=3", "task.val_by=none")
    assert task.sizes() == {"train": 16, "val": 0, "test": 6}
    images = task.images
    seen = {part: {p.numpy().tobytes() for p in images[part].pixels} for part in ("train", "test")}
    assert not seen["train"] & seen["test"]
    assert images["test"].labels.tolist() == [0] * 3 + [1] * 3
    # shuffled: a rule that learns in file order must not see one class first
    assert images["train"].labels[:8].unique().tolist() == [0, 1]
    again = real(cache, few, f"task.split={split}", "task.n_test=3", "task.val_by=none")
    assert torch.equal(again.images["train"].pixels, images["train"].pixels)


def test_in_order_the_last_files_are_the_test_set(few, cache):
    task = real(cache, few, "task.split=order", "task.val_by=none", "task.normalise=none")
    last = Image.open(few / sample.FOLDER / "Faces" / "image_0012.jpg").convert("L")
    expected = np.asarray(last.resize((60, 40), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(task.images["test"].pixels[3, 0].numpy(), expected)


def test_contrast_is_on_and_off():
    image = np.zeros((20, 20), np.uint8)
    image[:, 10:] = 200
    on, off = contrast(image, (1.0, 2.0))
    assert max(on.max(), off.max()) == 255
    # on stands on the bright side of the edge, off on the dark side
    assert 10 <= on.sum(0).argmax() <= 12
    assert 7 <= off.sum(0).argmax() <= 9
    assert not (on.astype(int) * off).any()
    assert not contrast(np.full((9, 9), 77, np.uint8), (1.0, 2.0)).any()


def test_a_cmyk_file_is_converted_and_counted(few, cache):
    path = few / sample.FOLDER / "Faces" / "image_0003.jpg"
    with Image.open(path) as image:
        image.load()
    image.convert("CMYK").save(path)
    task = real(cache, few, "task.colour=rgb")
    assert task.report().notes == {"CMYK images converted": 1}
    assert real(cache, few).report().notes == {"CMYK images converted": 1}


def test_a_corrupt_file_is_named(few, cache):
    path = few / sample.FOLDER / "Motorbikes" / "image_0007.jpg"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"Motorbikes/image_0007\.jpg cannot be decoded"):
        real(cache, few)


def test_a_category_without_folder_is_named(few, cache):
    with pytest.raises(DataError, match=r"lacks the folder Faces_easy .* it has Faces, Motorbikes"):
        real(cache, few, "task.categories=[Faces_easy,Motorbikes]")
    with pytest.raises(InstantiationException, match=r"task\.categories"):
        build("caltech", cache, "task.categories=[Faces,Faces]").locate()


def test_too_few_images_are_said(few, cache):
    with pytest.raises(DataError, match=r"Faces has 12 images, too few for task.n_train=8"):
        real(cache, few, "task.n_test=5")


@pytest.mark.parametrize("inside", ["", sample.FOLDER])
def test_real_files_are_found(few, cache, inside):
    task = real(cache, few / inside)
    assert task.sizes() == {"train": 14, "val": 2, "test": 8}
    assert task.report().excerpt == "12 of 435 Faces, 12 of 798 Motorbikes"


def test_complete_classes_are_no_excerpt(few, cache, monkeypatch):
    monkeypatch.setattr(datamodule, "OFFICIAL", {"Faces": 12})
    assert real(cache, few).report().excerpt == ""
    monkeypatch.setattr(datamodule, "OFFICIAL", {"Faces": 13, "Motorbikes": 12})
    assert real(cache, few).report().excerpt == "12 of 13 Faces"


def test_the_archive_in_the_archive_is_fetched_and_unpacked(few, tmp_path, cache, monkeypatch):
    inner = tmp_path / "101_ObjectCategories.tar.gz"
    with tarfile.open(inner, "w:gz") as tar:
        tar.add(few / sample.FOLDER, sample.FOLDER)
    archive = tmp_path / "caltech-101.zip"
    with zipfile.ZipFile(archive, "w") as outer:
        outer.write(inner, "caltech-101/101_ObjectCategories.tar.gz")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    local = replace(datamodule.ARCHIVE, urls=(archive.as_uri(),), checksum=f"md5:{md5}")
    monkeypatch.setattr(datamodule, "ARCHIVE", local)
    for _ in range(2):
        assert real(cache, tmp_path / "fresh").sizes()["test"] == 8


def test_missing_files_are_said_with_what_to_do(tmp_path, cache, monkeypatch):
    gone = replace(datamodule.ARCHIVE, urls=((tmp_path / "gone").as_uri(),))
    monkeypatch.setattr(datamodule, "ARCHIVE", gone)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with pytest.raises(DataError, match="none of the folders Faces, Motorbikes") as caught:
        real(cache, tmp_path)
    assert "caltech-101.zip" in str(caught.value)


@pytest.mark.parametrize("colour", ["grey", "rgb", "contrast"])
def test_a_photograph_alone_is_as_in_the_data_set(few, cache, tmp_path, colour):
    words = (f"task.colour={colour}", "task.split=order", "task.val_by=none")
    task = real(cache, few, *words)
    fresh = taken_up(task, build("caltech", tmp_path / "none", *words), tmp_path / "run")
    (one,) = fresh.read_input(few / sample.FOLDER / "Faces" / "image_0012.jpg")
    # of each class the last four test, faces first
    assert torch.equal(one.input, task.datasets["test"][3]["input"])
