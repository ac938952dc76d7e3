"""The imagenet task: sample, folders, archives, class counts, damaged files."""

from __future__ import annotations

import io
import shutil
import tarfile

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from PIL import Image
from scipy.io import savemat

from snnexp.data.base import DataError
from tasks.imagenet import datamodule, layout, sample
from tasks.imagenet.datamodule import MEAN, STD
from tests.tasks.image_tasks import build, make, tree
from tests.tasks.one_file import taken_up

SMALL = ("task.num_workers=0", "task.crop=48", "task.resize=56")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def jpeg(color=(120, 60, 30), size=(20, 16)):
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, "JPEG")
    return stream.getvalue()


def folders(root, n, parts=("train", "val"), names=None):
    """Write n class folders with one picture each."""
    picture = jpeg()
    for part in parts:
        for k in range(n):
            own = root / part / (names[k] if names else f"n{k:08d}")
            own.mkdir(parents=True)
            (own / "a.JPEG").write_bytes(picture)


# --- sample and batches ---------------------------------------------------------------------------


def test_the_sample_is_a_real_problem(cache):
    task = make("imagenet", cache, *SMALL)
    assert task.sizes() == {"train": 480, "val": 20, "test": 120}
    assert task.spec.step_shape == (3, 48, 48)
    assert len(task.spec.classes) == 10
    figures = task.baselines()
    assert figures["chance"] == pytest.approx(0.1)
    assert figures["linear"] < 0.3


def test_the_sample_has_the_same_bytes_each_time(cache, tmp_path):
    sample.make_sample(tmp_path)
    mine, other = tree(tmp_path), tree(build("imagenet", cache).locate())
    assert mine.keys() == other.keys() - {"manifest.json"}
    assert all(other[name] == content for name, content in mine.items())


@pytest.mark.parametrize("workers", [0, 1])
def test_batches(cache, workers):
    task = make("imagenet", cache, *SMALL, f"task.num_workers={workers}", "task.batch_size=20")
    batch = next(iter(task.val_dataloader()))
    assert batch["input"].shape == (20, 3, 48, 48)
    assert batch["target"].tolist() == [k for k in range(10) for _ in range(2)]
    assert batch["index"].tolist() == list(range(20))


def test_grey_and_cmyk_files_give_three_channels(cache):
    task = make("imagenet", cache, *SMALL)
    modes = {}
    for i, path in enumerate(task.listings["train"].paths):
        with Image.open(task.root / path.decode()) as image:
            modes.setdefault(image.mode, i)
    assert set(modes) == {"RGB", "L", "CMYK"}
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    for mode, i in modes.items():
        x = task.datasets["train"][i]["input"] * std + mean
        assert x.shape == (3, 48, 48)
        assert (x[0] - x[1]).abs().max() < 1e-5 if mode == "L" else True
        assert x.min() + 1e-5 >= 0
        assert x.max() <= 1 + 1e-5


def test_training_crops_differ_and_test_crops_do_not(cache):
    task = make("imagenet", cache, *SMALL)
    torch.manual_seed(0)
    train, test = task.datasets["train"], task.datasets["test"]
    assert not torch.equal(train[0]["input"], train[0]["input"])
    assert torch.equal(test[0]["input"], test[0]["input"])


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def six_classes(monkeypatch):
    """Two thousand folders take seconds; one test has them, the others expect six classes."""
    monkeypatch.setattr(layout, "N_CLASSES", 6)


def test_classes_are_read_in_sorted_order(tmp_path, cache, six_classes):
    names = [f"n{(k * 7919) % 10_007:08d}" for k in range(6)]
    folders(tmp_path / "imagenet", 6, names=names)
    task = make("imagenet", cache, *SMALL, "data=real", f"data_dir={tmp_path}", "task.val_by=none")
    assert task.spec.classes == tuple(sorted(names))
    assert task.sizes() == {"train": 6, "val": 0, "test": 6}
    assert task.datasets["test"][5]["target"] == 5
    report = task.report()
    assert report.excerpt == "6 of 1,281,167 training and 6 of 50,000 validation images"
    assert report.source == f"ILSVRC2012, an excerpt: {report.excerpt}"


def test_a_complete_set_is_no_excerpt(tmp_path, cache, six_classes, monkeypatch):
    monkeypatch.setattr(datamodule, "OFFICIAL", {"train": 6, "test": 6})
    folders(tmp_path / "imagenet", 6)
    task = make("imagenet", cache, *SMALL, "data=real", f"data_dir={tmp_path}", "task.val_by=none")
    assert (task.report().source, task.report().excerpt) == ("ILSVRC2012, complete", "")


def test_999_classes_are_refused(tmp_path, cache):
    folders(tmp_path, 999)
    with pytest.raises(DataError, match="has 999 classes, expected 1000"):
        make("imagenet", cache, "data=real", f"data_dir={tmp_path}")


def test_a_class_that_only_one_part_has_is_named(tmp_path, cache, six_classes):
    folders(tmp_path, 6)
    shutil.rmtree(tmp_path / "val" / "n00000003")
    with pytest.raises(DataError, match="train has 6 class folders and val 5; n00000003 of train"):
        make("imagenet", cache, "data=real", f"data_dir={tmp_path}")


def test_a_flat_val_folder_is_explained(tmp_path, cache):
    folders(tmp_path, 3, parts=("train",))
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(jpeg())
    with pytest.raises(DataError, match=r"val has no class folders.*devkit"):
        make("imagenet", cache, "data=real", f"data_dir={tmp_path}")


def test_a_corrupt_file_is_named_when_it_is_decoded(tmp_path, cache, six_classes):
    folders(tmp_path, 6)
    path = tmp_path / "val" / "n00000002" / "a.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    task = make("imagenet", cache, *SMALL, "data=real", f"data_dir={tmp_path}", "task.val_by=none")
    with pytest.raises(DataError, match=r"val/n00000002/a\.JPEG cannot be decoded"):
        task.datasets["test"][2]


def test_missing_files_are_said_with_what_to_do(tmp_path, cache):
    with pytest.raises(DataError, match=r"neither train/ and val/ nor") as caught:
        make("imagenet", cache, "data=real", f"data_dir={tmp_path}")
    assert "image-net.org" in str(caught.value)
    assert layout.DEVKIT in str(caught.value)


def test_a_crop_larger_than_the_image_is_refused(cache):
    with pytest.raises(
        InstantiationException, match=r"task\.crop=300 is larger than task\.resize=256"
    ):
        build("imagenet", cache, "task.crop=300")


# --- archives -------------------------------------------------------------------------------------


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_archives(folder, wnids=("n01", "n02", "n03"), truth=(2, 3, 1, 2), in_train=None):
    """Write the three archives as published, with a non-leaf synset in meta.mat."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / layout.TRAIN_TAR, "w") as tar:
        for name in in_train or wnids:
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w") as inner:
                for n in range(2):
                    add(inner, f"{name}_{n}.JPEG", jpeg())
            add(tar, f"{name}.tar", stream.getvalue())
    with tarfile.open(folder / layout.VAL_TAR, "w") as tar:
        for n in range(len(truth)):
            add(tar, f"ILSVRC2012_val_{n + 1:08d}.JPEG", jpeg((10 * n, 0, 0)))
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(k + 1, name, "a, b", 0) for k, name in enumerate(wnids)] + [(99, "n99", "c", 2)]
    stream = io.BytesIO()
    savemat(stream, {"synsets": np.array(rows, kind)[:, None]})
    with tarfile.open(folder / layout.DEVKIT, "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", stream.getvalue())
        lines = "".join(f"{k}\n" for k in truth).encode()
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", lines)


def test_archives_are_unpacked_and_sorted_by_the_devkit(tmp_path):
    write_archives(tmp_path / "in")
    layout.unpack(tmp_path / "in", tmp_path / "out", 3)
    assert layout.classes_of(tmp_path / "out", 3) == ["n01", "n02", "n03"]
    train = layout.list_part(tmp_path / "out", "train", ["n01", "n02", "n03"])
    assert train.paths[2] == b"train/n02/n02_0.JPEG"
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    val = layout.list_part(tmp_path / "out", "val", ["n01", "n02", "n03"])
    numbers = [p.decode().split("_")[-1] for p in val.paths]
    assert numbers == ["00000003.JPEG", "00000001.JPEG", "00000004.JPEG", "00000002.JPEG"]


def test_the_task_unpacks_below_its_cache_once(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "N_CLASSES", 3)
    write_archives(tmp_path / "data")
    words = ("data=real", f"data_dir={tmp_path / 'data'}", "task.val_by=none", *SMALL)
    task = make("imagenet", tmp_path / "cache", *words)
    assert task.sizes() == {"train": 6, "val": 0, "test": 4}
    assert task.root.is_relative_to(tmp_path / "cache" / "imagenet")
    before = tree(tmp_path / "cache")
    make("imagenet", tmp_path / "cache", *words)
    assert tree(tmp_path / "cache") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_train": ("n01", "n02")}, "disagree on 1 classes, e.g. n03"),
        ({"truth": (1, 2, 4)}, "ids that meta.mat does not name"),
        ({"wnids": ("n01", "n02")}, "names 2 classes, expected 3"),
        ({"wnids": ("n01", "n02", "../../n03")}, r"names a class '\.\./\.\./n03'"),
        ({"in_train": ("n01", "n02", "..")}, r"holds '\.\.\.tar', no class"),
    ],
)
def test_archives_that_do_not_belong_together_are_refused(tmp_path, change, message):
    write_archives(tmp_path / "in", **{"truth": (2, 1), **change})
    with pytest.raises(DataError, match=message):
        layout.unpack(tmp_path / "in", tmp_path / "out", 3)


@pytest.mark.parametrize("name", layout.ARCHIVES)
def test_a_damaged_archive_is_named_and_nothing_is_left(tmp_path, name, monkeypatch):
    monkeypatch.setattr(layout, "N_CLASSES", 3)
    write_archives(tmp_path / "data")
    path = tmp_path / "data" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(DataError, match=name):
        make("imagenet", tmp_path / "cache", "data=real", f"data_dir={tmp_path / 'data'}")
    assert not any(p.is_dir() for p in (tmp_path / "cache" / "imagenet").iterdir())


def test_a_member_that_would_land_elsewhere_is_refused(tmp_path):
    write_archives(tmp_path / "in")
    with tarfile.open(tmp_path / "in" / layout.TRAIN_TAR, "w") as tar:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as inner:
            add(inner, "../../../escaped.JPEG", jpeg())
        add(tar, "n01.tar", stream.getvalue())
    with pytest.raises(DataError, match="cannot be unpacked"):
        layout.unpack(tmp_path / "in", tmp_path / "out", 3)
    assert not list(tmp_path.rglob("escaped*"))


def test_a_photograph_alone_is_as_in_the_data_set(cache, tmp_path):
    task = make("imagenet", cache, *SMALL)
    fresh = taken_up(task, build("imagenet", tmp_path / "none", *SMALL), tmp_path / "run")
    for i in (0, 50):
        (one,) = fresh.read_input(task.root / task.listings["test"].paths[i].decode())
        assert torch.equal(one.input, task.datasets["test"][i]["input"])
