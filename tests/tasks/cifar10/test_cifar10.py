"""The cifar10 task: sample, official batches, pickles that are not trusted."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from snnexp.data import download
from snnexp.data.base import DataError
from tasks.cifar10 import datamodule, layout, sample
from tests.tasks.image_tasks import build, make, tree
from tests.tasks.one_file import taken_up


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    sample.make_sample(root)
    layout.write_names(root / layout.FOLDER / layout.META, build("cifar10", root).classes)
    return root


@pytest.fixture
def broken(official, tmp_path):
    shutil.copytree(official / layout.FOLDER, tmp_path / layout.FOLDER)
    return tmp_path


def test_the_sample_is_a_real_problem(cache):
    task = make("cifar10", cache)
    assert task.sizes() == {"train": 1700, "val": 300, "test": 500}
    assert task.spec.step_shape == (3, 32, 32)
    assert task.spec.classes[5] == "striped disc"
    figures = task.baselines()
    assert figures["chance"] == pytest.approx(0.1)
    assert figures["linear"] < 0.25


def test_the_sample_has_the_same_bytes_each_time(official, tmp_path):
    sample.make_sample(tmp_path)
    mine, other = tree(tmp_path), tree(official)
    for name in mine.keys() - {f"{layout.FOLDER}/{layout.META}"}:
        assert mine[name] == other[name]


@pytest.mark.parametrize("inside", ["", layout.FOLDER])
def test_official_files_are_found(official, cache, inside):
    task = make("cifar10", cache, "data=real", f"data_dir={official / inside}", "task.val_by=none")
    assert task.sizes() == {"train": 2000, "val": 0, "test": 500}
    assert task.spec.classes[0] == "airplane"
    report = task.report()
    assert report.excerpt == "2,000 of 50,000 training and 500 of 10,000 test images"
    assert report.source == f"CIFAR-10, an excerpt: {report.excerpt}"


def test_a_complete_set_is_no_excerpt(official, cache, monkeypatch):
    monkeypatch.setattr(datamodule, "OFFICIAL", {"train": 2000, "test": 500})
    report = make("cifar10", cache, "data=real", f"data_dir={official}").report()
    assert (report.source, report.excerpt) == ("CIFAR-10, complete", "")


def test_a_batch_comes_back_as_planes(official):
    images, labels = layout.read_batch(official / layout.FOLDER / "test_batch")
    drawn, expected = sample.pictures(2000, 500)
    np.testing.assert_array_equal(images, drawn)
    np.testing.assert_array_equal(labels, expected)


def test_a_batch_as_python_2_wrote_it_is_read(tmp_path):
    """Protocol 2 with str keys and numpy.core names, as in the published archive."""
    written = pickle.dumps({b"data": np.arange(3072, dtype=np.uint8)[None], b"labels": [3]}, 2)
    old = written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != written
    (tmp_path / "b").write_bytes(old)
    images, labels = layout.read_batch(tmp_path / "b")
    assert labels.tolist() == [3]
    assert images[0, 0, 0, :3].tolist() == [0, 1, 2]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_that_would_run_code_is_refused_and_not_run(broken, cache):
    trap = broken / "trap"
    content = {b"data": Evil(trap), b"labels": []}
    (broken / layout.FOLDER / "data_batch_3").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(DataError, match=r"data_batch_3 is no readable file.*asks for .*open"):
        make("cifar10", cache, "data=real", f"data_dir={broken}")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, expected a dictionary"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "without the entries data and labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "2 images but 1 labels"),
        (
            {b"data": np.zeros((2, 3071), np.uint8), b"labels": [1, 2]},
            r"expected bytes \[N, 3072\]",
        ),
        ({b"data": np.zeros((1, 3072), np.float32), b"labels": [1]}, "float32"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, r"other than 0\.\.9"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["1"]}, r"other than 0\.\.9"),
    ],
)
def test_a_batch_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(DataError, match=message):
        layout.read_batch(path)


def test_a_truncated_batch_is_refused(broken, cache):
    path = broken / layout.FOLDER / "test_batch"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="test_batch is no readable file of CIFAR-10"):
        make("cifar10", cache, "data=real", f"data_dir={broken}")


def test_a_missing_batch_is_named(broken, cache):
    (broken / layout.FOLDER / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4 is missing"):
        make("cifar10", cache, "data=real", f"data_dir={broken}")


def test_another_class_list_is_refused(broken, cache):
    layout.write_names(broken / layout.FOLDER / layout.META, tuple("abcdefghij"))
    with pytest.raises(DataError, match=r"names the classes .*'a', 'b'.*expected .*'airplane'"):
        make("cifar10", cache, "data=real", f"data_dir={broken}")


def test_missing_files_are_said_with_what_to_do(tmp_path, cache, monkeypatch):
    gone = replace(datamodule.ARCHIVE, urls=((tmp_path / "gone").as_uri(),))
    monkeypatch.setattr(datamodule, "ARCHIVE", gone)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with pytest.raises(DataError, match=r"(?s)no data_batch_1 in .*cifar-10-python\.tar\.gz"):
        make("cifar10", cache, "data=real", f"data_dir={tmp_path}")


def test_the_archive_is_fetched_and_unpacked(official, tmp_path, cache, monkeypatch):
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(official / layout.FOLDER, layout.FOLDER)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    local = replace(datamodule.ARCHIVE, urls=(archive.as_uri(),), checksum=f"md5:{md5}")
    monkeypatch.setattr(datamodule, "ARCHIVE", local)
    words = ("data=real", f"data_dir={tmp_path / 'data'}")
    assert make("cifar10", cache, *words).sizes()["test"] == 500
    assert make("cifar10", cache, *words).locate() == tmp_path / "data" / "CIFAR10" / layout.FOLDER


def test_training_batches_are_augmented(cache):
    task = make("cifar10", cache, "task.normalise=none")
    first = task.datasets["train"].__getitems__(list(range(30)))["input"]
    assert not torch.equal(first, task.images["train"].pixels[:30])
    test = task.datasets["test"].__getitems__(list(range(30)))["input"]
    assert torch.equal(test, task.images["test"].pixels[:30])


def test_a_picture_alone_is_as_in_the_data_set(cache, tmp_path):
    task = make("cifar10", cache)
    fresh = taken_up(task, build("cifar10", tmp_path / "none"), tmp_path / "run")
    pixels = task.images["test"].pixels[5].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "five.png")
    (one,) = fresh.read_input(tmp_path / "five.png")
    assert torch.equal(one.input, task.datasets["test"][5]["input"])
    assert fresh.spec.classes == task.spec.classes
