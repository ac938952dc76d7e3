"""The fashion_mnist task: its stand-in sample, Debian's folder, mistaken sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnexp.data import download
from snnexp.data.base import DataError
from tasks.fashion_mnist.datamodule import FASHION_MNIST, FashionMNISTTask
from tasks.mnist import sample
from tests.tasks.image_tasks import build, make


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_the_sample_says_that_it_is_no_clothes(cache):
    task = make("fashion_mnist", cache)
    assert task.sizes() == {"train": 1227, "val": 210, "test": 360}
    assert task.spec.classes[9] == "Ankle boot"
    assert "no clothes" in task.report().source
    assert "digits" in task.report().source
    assert task.report().excerpt == ""


@pytest.mark.parametrize("inside", ["datasets", "datasets/fashion-mnist"])
def test_debians_folder_is_read_as_installed(tmp_path, cache, inside):
    """usr/share/datasets/fashion-mnist, or the folder above it."""
    folder = tmp_path / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    sample.make_sample(folder)
    task = make("fashion_mnist", cache, "data=real", f"data_dir={tmp_path / inside}")
    report = task.report()
    assert report.excerpt == "1,437 of 60,000 training and 360 of 10,000 test images"
    assert report.source == f"Fashion-MNIST, an excerpt: {report.excerpt}"


def test_missing_files_are_said_with_the_package(tmp_path, cache, monkeypatch):
    files = tuple(replace(r, urls=((tmp_path / "x").as_uri(),)) for r in FASHION_MNIST.files)
    monkeypatch.setattr(FashionMNISTTask, "published", replace(FASHION_MNIST, files=files))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with pytest.raises(DataError, match="apt-get download dataset-fashion-mnist"):
        build("fashion_mnist", cache, "data=real", f"data_dir={tmp_path}").prepare_data()
