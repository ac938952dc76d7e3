"""What all tasks share whose 8-bit images fit in memory: splits, batches, baselines, pictures.

A task names its files and reads them as arrays; they are decoded once and kept as bytes, and a
batch is one slice of them.

Letters: N images, C channel, H W space, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snnexp.data.base import (
    ArrayDataset,
    DataError,
    FileInput,
    Part,
    Predictions,
    Split,
    TaskDataModule,
    TaskSpec,
)
from snnexp.data.image_batch import Augment, ImageTransform, Normalise, draw, tail
from snnexp.data.image_files import SUFFIXES, open_image

#: training images that the linear baseline sees at most; more change it little and cost minutes
LINEAR_IMAGES = 10_000
#: larger images are averaged over blocks to this side for the linear baseline; one channel, more
LINEAR_SIDE, LINEAR_SIDE_COLOUR = 32, 16


@dataclass(frozen=True)
class Images:
    """Bytes [N, C, H, W] and labels [N] of one part of the official split, in dataset order."""

    pixels: Tensor
    labels: Tensor

    @classmethod
    def grey(cls, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
        """Take grey images [N, H, W]."""
        # a copy: torch does not take the read-only arrays that a file's bytes make
        return cls(torch.from_numpy(pixels[:, None].copy()), torch.from_numpy(labels))

    def where(self, chosen: Tensor) -> Images:
        """Return the marked images."""
        return Images(self.pixels[chosen], self.labels[chosen])


class ImageTask(TaskDataModule):
    """Base of the image tasks that fit in memory.

    A subclass gives `task_name`, `classes`, `mean` and `std` of a channel (range 0..1) and `read`.
    Its constructor passes on:

    `normalise`: standard, unit, or none, which keeps the bytes (latency-coded models).
    `augment`: a random change of training images, or null.
    `val_by`: none; tail, the last `val_share` of each class in dataset order (accuracy-B of the
    PLIF code); random, `val_share` of each class, drawn by `split_seed`; of the training images.
    """

    task_name: ClassVar[str]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    suffixes: tuple[str, ...] = SUFFIXES

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        normalise: Normalise,
        augment: Augment | None,
        val_by: Literal["none", "tail", "random"],
        val_share: float,
        split_seed: int,
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        self.normalise, self.augment = normalise, augment
        self.val_by, self.val_share, self.split_seed = val_by, val_share, split_seed
        self.images: dict[Split, Images] = {}

    def read(self) -> dict[Literal["train", "test"], Images]:
        """Read all images of the official split."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read and split the images; a second call does nothing."""
        if self.images:
            return
        whole = self.read()
        held = held_out(whole["train"].labels, self.val_by, self.val_share, self.split_seed)
        self.images = {
            "train": whole["train"].where(~held) if held.any() else whole["train"],
            "val": whole["train"].where(held),
            "test": whole["test"],
        }
        for split, images in self.images.items():
            augment = self.augment if split == "train" else None
            transform = ImageTransform(self.normalise, self.mean, self.std, augment)
            self.datasets[split] = ArrayDataset(images.pixels, images.labels, transform)
        self._spec = TaskSpec(
            name=self.task_name,
            kind="classification",
            step_shape=tuple(whole["train"].pixels.shape[1:]),
            n_steps=None,
            dt=None,
            classes=self.classes,
            item="image",
        )

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Decode a picture, or all of a file of several, and scale it as test images are."""
        pixels, notes = self.pixels_of(path)
        transform = ImageTransform(self.normalise, self.mean, self.std, None)
        x, _ = transform(pixels, torch.zeros(len(pixels)))
        names = [path.name] if len(x) == 1 else [f"{path.name}, image {i}" for i in range(len(x))]
        return [FileInput(n, item, notes=tuple(notes)) for n, item in zip(names, x, strict=True)]

    def pixels_of(self, path: Path) -> tuple[Tensor, list[str]]:
        """Return the bytes [N, C, H, W] of a file, and what was converted."""
        channels, height, width = self.spec.step_shape
        image, mode = open_image(path, "L" if channels == 1 else "RGB")
        notes = [] if mode == image.mode else [f"converted from {mode} to {image.mode}"]
        if image.size != (width, height):
            notes.append(f"resized from {image.width} x {image.height} to {width} x {height}")
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy()).view(height, width, channels)
        return pixels.permute(2, 0, 1)[None], notes

    def sizes(self) -> dict[str, int]:
        """Return how many images each split has."""
        return {split: len(images.labels) for split, images in self.images.items()}

    def baselines(self) -> dict[str, float]:
        """Return the test accuracy of the most frequent class and of logistic regression."""
        return baselines(self.images["train"], self.images["test"])

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """Draw some images, wrongly classified ones first, each with what was predicted."""
        pixels = self.images[split].pixels
        return [draw_predictions(pixels, predictions, self.classes, folder / f"{split}_images.png")]


def excerpt(sizes: Mapping[str, int], official: Mapping[str, int], tested: str = "test") -> str:
    """Say which part of the official images `sizes` holds; nothing where it holds them all.

    Validation images are training images of the official split; `tested` is what its authors call
    the images that a run is tested on.
    """
    train, test = sizes["train"] + sizes["val"], sizes["test"]
    if (train, test) == (official["train"], official["test"]):
        return ""
    return (
        f"{train:,} of {official['train']:,} training and {test:,} of {official['test']:,} "
        f"{tested} images"
    )


def held_out(labels: Tensor, val_by: str, share: float, seed: int) -> Tensor:
    """Mark the validation images among the training images.

    Raises DataError where a class would lose all its training images, or none be held out.
    """
    if val_by == "none":
        return torch.zeros(len(labels), dtype=torch.bool)
    if not 0 < share < 1:
        raise DataError(f"task.val_share={share} must lie between 0 and 1 (or task.val_by=none)")
    held = tail(labels, share) if val_by == "tail" else draw(labels, share, seed)
    if not held.any():
        raise DataError(
            f"task.val_share={share} holds out no image of {len(labels)}; give a larger share"
        )
    return held


def baselines(train: Images, test: Images) -> dict[str, float]:
    """Return the test accuracy of the most frequent training class and of a linear classifier.

    Of equally frequent classes (a balanced set) one is guessed at random: the mean of them.
    The classifier is multinomial logistic regression (L2, C = 0.01, at most 200 iterations) on
    standardised pixels, averaged over blocks to at most 32 x 32 (of several channels: 16 x 16), of
    at most 10,000 training images.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = train.labels.bincount()
    share = test.labels.bincount(minlength=len(counts)) / len(test.labels)
    chance = float(share[: len(counts)][counts == counts.max()].mean())
    if len(train.labels) > LINEAR_IMAGES:
        order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))
        train = train.where(order[:LINEAR_IMAGES].sort().values)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    with warnings.catch_warnings():
        # 200 iterations are the definition of this baseline, converged or not
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_flat(train.pixels), train.labels.numpy())
    return {
        "chance": chance,
        "linear": float(model.score(_flat(test.pixels), test.labels.numpy())),
    }


def _flat(pixels: Tensor) -> NDArray[np.float32]:
    channels, height, width = pixels.shape[1:]
    side = LINEAR_SIDE if channels == 1 else LINEAR_SIDE_COLOUR
    size = (min(side, height), min(side, width))
    parts = [F.adaptive_avg_pool2d(x.float(), size).flatten(1) for x in pixels.split(1024)]
    return torch.cat(parts).numpy()


def draw_predictions(
    pixels: Tensor, predictions: Predictions, classes: tuple[str, ...], path: Path
) -> Path:
    """Draw up to 24 of the images [N, C, H, W]; predictions.index says which are at hand."""
    guess = predictions.scores.argmax(1)
    # a stable sort of False before True: mistakes first, in dataset order
    order = (guess == predictions.target).int().argsort(stable=True)[:24]
    rows = -(-len(order) // 8)
    figure = Figure(figsize=(12, 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, 8, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, k in zip(axes, order.tolist(), strict=False):
        shown = _viewable(pixels[int(predictions.index[k])])
        axis.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=255)
        true, got = classes[int(predictions.target[k])], classes[int(guess[k])]
        title = true if true == got else f"{true}, taken for {got}"
        axis.set_title(title, fontsize=7, color="black" if true == got else "firebrick")
    figure.savefig(path, dpi=110)
    return path


def _viewable(image: Tensor) -> Tensor:
    """Turn [C, H, W] into grey [H, W] or colour [H, W, 3]; two channels are on and off contrast."""
    if len(image) == 2:
        return 128 + (image[0].int() - image[1].int()) // 2
    return image[0] if len(image) == 1 else image.permute(1, 2, 0)
