"""IDX files, image files, batches of bytes and the splits of image sets."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from snnexp.data import idx
from snnexp.data.base import DataError, Predictions
from snnexp.data.image_batch import (
    ImageTransform,
    RandomAffine,
    RandomCropFlip,
    affine,
    draw,
    tail,
)
from snnexp.data.image_files import class_folders, image_names, open_image
from snnexp.data.images import Images, baselines, draw_predictions, held_out
from snnexp.data.rendered import CLASSES, render


def idx_bytes(array, magic=None):
    head = bytes(magic or [0, 0, 8, array.ndim])
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder, counts=(20, 10), label_counts=None, side=28, plain=False):
    rng = np.random.default_rng(0)
    label_counts = label_counts or counts
    for split, n, n_labels in zip(("train", "test"), counts, label_counts, strict=True):
        arrays = {
            "images": rng.integers(0, 256, (n, side, side)).astype(np.uint8),
            "labels": (np.arange(n_labels) % 10).astype(np.uint8),
        }
        for content, array in arrays.items():
            name = idx.STEMS[split, content]
            if plain:
                (folder / name).write_bytes(idx_bytes(array))
            else:
                idx.write_idx(folder / f"{name}.gz", array)


# --- IDX ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_idx_comes_back_as_written(tmp_path, plain):
    write_set(tmp_path, plain=plain)
    parts = idx.read_set(tmp_path, (28, 28), 10)
    assert parts["train"][0].shape == (20, 28, 28)
    assert parts["test"][1].tolist() == list(range(10))
    stored = idx.find_idx(tmp_path, idx.STEMS["train", "images"])
    raw = stored.read_bytes()
    raw = raw if plain else gzip.decompress(raw)
    assert raw[16:] == parts["train"][0].tobytes()


def test_idx_files_are_written_alike_each_time(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    idx.write_idx(tmp_path / "a.gz", array)
    idx.write_idx(tmp_path / "b.gz", array)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gz", "b.gz"]


def test_the_dotted_name_of_some_archives_is_found(tmp_path):
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(b"x")
    assert idx.find_idx(tmp_path, idx.STEMS["test", "labels"]) is not None
    assert idx.holds_set(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with the bytes nothing"),
        (idx_bytes(np.zeros((3, 4, 4), np.uint8), [0, 0, 13, 3]), "00 00 0d 03"),
        (idx_bytes(np.zeros((3, 4), np.uint8)), "starts with the bytes 00 00 08 02"),
        (bytes([0, 0, 8, 3, 0, 0]), "ends within its header: 6 of 16"),
        (idx_bytes(np.zeros((3, 4, 4), np.uint8))[:-5], "truncated: its header promises 3 x 4 x 4"),
        (idx_bytes(np.zeros((3, 4, 4), np.uint8)) + b"!", "too long"),
        # without the time of writing, which would be in the name of the test
        (gzip.compress(idx_bytes(np.zeros((3, 4, 4), np.uint8)), mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b" + b"garbage of some length", "cannot be read"),
        (b"<html>404 not found</html>", "starts with the bytes 3c 68 74 6d"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        idx.read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_set(tmp_path, counts=(20, 10), label_counts=(19, 10))
    with pytest.raises(DataError, match=r"20 images but train-labels.* 19 labels"):
        idx.read_set(tmp_path, (28, 28), 10)


def test_images_of_another_size_and_labels_out_of_range_are_refused(tmp_path):
    write_set(tmp_path, side=32)
    with pytest.raises(DataError, match=r"\(32, 32\), expected \(28, 28\)"):
        idx.read_set(tmp_path, (28, 28), 10)
    write_set(tmp_path)
    with pytest.raises(DataError, match=r"holds the label 9, expected 0\.\.4"):
        idx.read_set(tmp_path, (28, 28), 5)


def test_a_missing_file_is_named(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte"):
        idx.read_set(tmp_path, (28, 28), 10)


# --- image files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["L", "RGB", "CMYK"])
def test_any_mode_is_converted_and_told(tmp_path, stored):
    red = Image.new("RGB", (16, 12), (200, 40, 40))
    red.convert(stored).save(tmp_path / "a.jpg", quality=95)
    image, mode = open_image(tmp_path / "a.jpg", "RGB")
    assert (image.mode, mode, image.size) == ("RGB", stored, (16, 12))
    middle = np.asarray(image)[6, 8].astype(int)
    if stored == "L":
        assert len(set(middle.tolist())) == 1  # three equal channels
    else:
        assert abs(middle - [200, 40, 40]).max() <= 6
    assert open_image(tmp_path / "a.jpg", "L")[0].mode == "L"


def test_a_palette_image_is_converted(tmp_path):
    Image.new("RGB", (8, 8), (10, 200, 10)).convert("P").save(tmp_path / "a.png")
    image, mode = open_image(tmp_path / "a.png", "RGB")
    assert (image.mode, mode) == ("RGB", "P")


def jpeg(path):
    Image.fromarray(render(np.random.default_rng(0), 0, 64, 64)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing"])
def test_a_damaged_image_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "image_0001.jpg"
    whole = jpeg(path)
    contents = {"truncated": whole[: len(whole) // 2], "text": b"not found", "empty": b""}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(DataError, match=r"image_0001\.jpg cannot be decoded") as caught:
        open_image(path, "RGB")
    assert "Fetch the file again" in str(caught.value)


def test_folders_and_names_are_sorted_and_others_ignored(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "list.txt").write_text("x")
    assert class_folders(tmp_path) == ["a", "b"]
    with pytest.raises(DataError, match="has no images"):
        image_names(tmp_path / "a")
    for name in ("2.JPEG", "1.jpg", "._1.jpg", ".directory"):
        (tmp_path / "a" / name).write_bytes(b"")
    assert image_names(tmp_path / "a") == ["1.jpg", "2.JPEG"]
    with pytest.raises(DataError, match="no class folders"):
        class_folders(tmp_path / "a")
    with pytest.raises(DataError, match="cannot be listed"):
        class_folders(tmp_path / "c")


# --- batches --------------------------------------------------------------------------------------


def test_scaling():
    x = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    y = torch.arange(5)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    standard, _ = ImageTransform("standard", mean, std, None)(x, y)
    expected = tv.normalize(x.float() / 255, list(mean), list(std))
    torch.testing.assert_close(standard, expected, atol=1e-6, rtol=1e-5)
    unit, _ = ImageTransform("unit", mean, std, None)(x, y)
    assert torch.equal(unit, x.float() / 255)
    none, labels = ImageTransform("none", mean, std, None)(x, y)
    assert none.dtype == torch.uint8
    assert torch.equal(none, x)
    assert torch.equal(labels, y)


@pytest.mark.parametrize("shape", [(28, 28), (20, 30)])
def test_affine_equals_torchvision(shape):
    """Same angle, shift and scale: the same pixels, but for ties of nearest neighbours."""
    torch.manual_seed(0)
    x = torch.rand(16, 1, *shape)
    angle, scale = torch.rand(16) * 60 - 30, 0.85 + 0.3 * torch.rand(16)
    shift = torch.randint(-4, 5, (16, 2)).float()
    ours = affine(x, angle, shift, scale)
    for k in range(16):
        theirs = tv.affine(
            x[k],
            float(angle[k]),
            [int(shift[k, 0]), int(shift[k, 1])],
            float(scale[k]),
            [0.0, 0.0],
            InterpolationMode.NEAREST,
        )
        assert (ours[k] == theirs).float().mean() > 0.99


def test_random_affine_moves_each_image_its_own_way_and_keeps_bytes():
    x = torch.randint(0, 256, (1, 1, 28, 28)).float().expand(8, -1, -1, -1)
    change = RandomAffine(degrees=30.0, translate=0.15, scale=(0.85, 1.11))
    torch.manual_seed(1)
    first = change(x)
    assert len({tuple(i.flatten().tolist()) for i in first}) == 8
    assert torch.equal(first, first.round())
    torch.manual_seed(1)
    assert torch.equal(change(x), first)
    still = RandomAffine(degrees=0.0, translate=0.0, scale=(1.0, 1.0))
    assert torch.equal(still(x), x)


def test_crop_and_flip_pick_windows_of_the_padded_image():
    torch.manual_seed(0)
    x = torch.rand(40, 3, 6, 6)
    changed = RandomCropFlip(padding=2, flip=True)(x)
    seen = set()
    for before, after in zip(x, changed, strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
        windows = {
            (r, c, f): (
                padded[:, r : r + 6, c : c + 6].flip(2) if f else padded[:, r : r + 6, c : c + 6]
            )
            for r in range(5)
            for c in range(5)
            for f in (False, True)
        }
        found = [k for k, w in windows.items() if torch.equal(w, after)]
        assert found
        seen.add(found[0])
    assert {f for _, _, f in seen} == {False, True}
    assert len({(r, c) for r, c, _ in seen}) > 10
    whole = RandomCropFlip(padding=0, flip=False)(x)
    assert torch.equal(whole, x)


# --- splits ---------------------------------------------------------------------------------------


def test_tail_holds_out_the_last_of_each_class():
    labels = torch.tensor([0, 1] * 20 + [1] * 7)
    held = tail(labels, 0.15)
    for k, n in ((0, 20), (1, 27)):
        of_class = held[labels == k]
        kept = int((~of_class).sum())
        assert kept == -(-n * 85 // 100)
        assert not of_class[:kept].any()
        assert of_class[kept:].all()


def test_draw_is_seeded_and_balanced():
    labels = torch.arange(200) % 4
    a, b, c = draw(labels, 0.2, 0), draw(labels, 0.2, 0), draw(labels, 0.2, 1)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert labels[a].bincount().tolist() == [10] * 4


def test_a_share_that_holds_out_nothing_or_all_is_refused():
    labels = torch.arange(20) % 4
    assert not held_out(labels, "none", 0.5, 0).any()
    with pytest.raises(DataError, match=r"task.val_share=0.01"):
        held_out(labels, "tail", 0.01, 0)
    with pytest.raises(DataError, match="between 0 and 1"):
        held_out(labels, "tail", 1.0, 0)


# --- baselines, pictures, rendered data -----------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_baselines_know_chance_and_a_line(channels):
    pixels = torch.zeros(60, channels, 8, 8, dtype=torch.uint8)
    labels = torch.arange(60) % 3
    pixels[torch.arange(60), channels - 1, labels, 0] = 255
    images = Images(pixels, labels)
    assert baselines(images, images) == {"chance": pytest.approx(1 / 3), "linear": 1.0}
    more = Images(pixels, torch.where(labels == 2, 1, labels))
    assert baselines(more, more)["chance"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_mistakes_are_drawn_first(tmp_path, channels):
    pixels = torch.randint(0, 256, (30, channels, 8, 8), dtype=torch.uint8)
    target = torch.zeros(30, dtype=torch.long)
    scores = torch.zeros(30, 2)
    scores[:, 0] = 1
    scores[29] = torch.tensor([0.0, 1.0])
    path = draw_predictions(
        pixels, Predictions(scores, target, torch.arange(30)), ("a", "b"), tmp_path / "p.png"
    )
    with Image.open(path) as drawn:
        assert drawn.size[0] > 500


def test_rendered_pictures_depend_on_seed_and_class_only():
    for label in range(len(CLASSES)):
        a, b = (render(np.random.default_rng(7), label, 24, 36) for _ in range(2))
        assert a.shape == (24, 36, 3)
        assert a.dtype == np.uint8
        np.testing.assert_array_equal(a, b)
    assert (render(np.random.default_rng(8), 0, 24, 36) != a).any()
