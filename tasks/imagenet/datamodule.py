"""The imagenet task: ILSVRC2012, decoded by the loader's workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from snnexp.data import rendered
from snnexp.data.base import (
    Batch,
    DataError,
    FileInput,
    Part,
    Predictions,
    Split,
    TaskDataModule,
    TaskReport,
    TaskSpec,
)
from snnexp.data.cache import cached
from snnexp.data.image_files import SUFFIXES, open_image
from snnexp.data.images import LINEAR_IMAGES, Images, baselines, draw_predictions, excerpt, held_out
from tasks.imagenet import layout, sample

OFFICIAL = {"train": 1_281_167, "test": 50_000}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HOW_TO_GET = (
    "ILSVRC2012 needs a registration at https://image-net.org/download-images. Put the folders "
    "train/ and val/, each with one folder a class (n01440764, ...), into <data_dir>/imagenet, or "
    "put the "
    f"archives {', '.join(layout.ARCHIVES)} there, which are then unpacked below cache_dir (about "
    "150 GB), and give data=real data_dir=<data_dir>"
)


class JPEGDataset(Dataset[Batch]):
    """Images decoded when asked for; `index` is the position in this dataset."""

    def __init__(
        self, root: Path, listing: layout.Listing, transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.root, self.listing, self.transform = root, listing, transform

    def __len__(self) -> int:
        return len(self.listing.labels)

    def __getitem__(self, i: int) -> Batch:
        image, _ = open_image(self.root / self.listing.paths[i].decode(), "RGB")
        return Batch(
            input=self.transform(image),
            target=torch.tensor(self.listing.labels[i]),
            index=torch.tensor(i),
        )


class ImageNetTask(TaskDataModule):
    """ILSVRC2012, 1,000 classes; val/ is the test set, as in every paper on it.

    Source: Russakovsky et al. 2015, IJCV 115. Training images: a random part of `min_area`..1 of
    the area and of 3/4..4/3 in proportions, resized to `crop`, mirrored with probability 1/2.
    Others: the shorter side resized to `resize`, the middle `crop` taken. Greyscale files give
    three equal channels, CMYK files are converted.

    `val_by`: none; tail, the last `val_share` of each class in dataset order; random, drawn by
    `split_seed`; of the training images.
    """

    suffixes: tuple[str, ...] = SUFFIXES

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        crop: int,
        resize: int,
        min_area: float,
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
        if crop > resize:
            raise ValueError(f"task.crop={crop} is larger than task.resize={resize}")
        self.crop, self.resize, self.min_area = crop, resize, min_area
        self.val_by, self.val_share, self.split_seed = val_by, val_share, split_seed
        self.listings: dict[Split, layout.Listing] = {}
        self.root = Path()

    def prepare_data(self) -> None:
        """Make the sample, or find (and unpack) the real files."""
        self.locate()

    def locate(self) -> Path:
        """Return the folder with train and val."""
        if self.data == "sample":
            return cached(
                self.cache_dir / "samples" / "imagenet",
                {"task": "imagenet"},
                [rendered, sample],
                sample.make_sample,
                "the sample data of imagenet",
            )
        names = ("imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", ".")
        places = [self.data_dir / name for name in names]
        for place in places:
            if (place / "train").is_dir() and (place / "val").is_dir():
                return place
        for place in places:
            if all((place / name).is_file() for name in layout.ARCHIVES):
                return self._unpacked(place)
        looked = ", ".join(map(str, places))
        raise DataError(
            f"neither train/ and val/ nor the three archives in {looked} "
            f"(data_dir={self.data_dir}).\n{HOW_TO_GET}"
        )

    def _unpacked(self, archives: Path) -> Path:
        return cached(
            self.cache_dir / "imagenet",
            {"archives": {name: (archives / name).stat().st_size for name in layout.ARCHIVES}},
            [layout],
            lambda folder: layout.unpack(archives, folder, layout.N_CLASSES),
            "the unpacked archives of ILSVRC2012",
        )

    def setup(self, stage: str | None = None) -> None:
        """List the files and split them; a second call does nothing."""
        if self.listings:
            return
        self.root = self.locate()
        expected = len(rendered.CLASSES) if self.data == "sample" else layout.N_CLASSES
        wnids = layout.classes_of(self.root, expected)
        whole = layout.list_part(self.root, "train", wnids)
        labels = torch.from_numpy(whole.labels)
        held = held_out(labels, self.val_by, self.val_share, self.split_seed).numpy()
        self.listings = {
            "train": layout.Listing(whole.paths[~held], whole.labels[~held]),
            "val": layout.Listing(whole.paths[held], whole.labels[held]),
            "test": layout.list_part(self.root, "val", wnids),
        }
        for split, listing in self.listings.items():
            transform = self._training() if split == "train" else self._centre()
            self.datasets[split] = JPEGDataset(self.root, listing, transform)
        self._spec = TaskSpec(
            name="imagenet",
            kind="classification",
            step_shape=(3, self.crop, self.crop),
            n_steps=None,
            dt=None,
            classes=tuple(wnids),
            item="image",
        )

    def _training(self) -> Callable[[Image.Image], Tensor]:
        return transforms.Compose(
            [
                transforms.RandomResizedCrop(self.crop, scale=(self.min_area, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def _centre(self, *last: Callable[..., Any]) -> Callable[[Image.Image], Tensor]:
        return transforms.Compose(
            [
                transforms.Resize(self.resize),
                transforms.CenterCrop(self.crop),
                *(last or (transforms.ToTensor(), transforms.Normalize(MEAN, STD))),
            ]
        )

    def inputs_of(self, path: Path, part: Part) -> list[FileInput]:
        """Decode a photograph and take its middle, as of test images."""
        image, mode = open_image(path, "RGB")
        notes = () if mode == "RGB" else (f"converted from {mode} to RGB",)
        return [FileInput(path.name, self._centre()(image), notes=notes)]

    def sizes(self) -> dict[str, int]:
        """Return how many images each split has."""
        return {split: len(listing.labels) for split, listing in self.listings.items()}

    def report(self) -> TaskReport:
        """Say what was read."""
        sizes = self.sizes()
        source, part = "rendered figures, plain and striped, as JPEG files", ""
        if self.data == "real":
            part = excerpt(sizes, OFFICIAL, tested="validation")
            source = f"ILSVRC2012, an excerpt: {part}" if part else "ILSVRC2012, complete"
        return TaskReport(self.data, source, sizes, {}, HOW_TO_GET, part)

    def baselines(self) -> dict[str, float]:
        """Return test accuracies on up to 10,000 images of each split (snnexp.data.images)."""
        return baselines(self._some("train"), self._some("test"))

    def _some(self, split: Split) -> Images:
        """Decode up to 10,000 images of a split, drawn at random, as bytes."""
        listing = self.listings[split]
        count = min(LINEAR_IMAGES, len(listing.labels))
        rows = np.sort(np.random.default_rng(0).choice(len(listing.labels), count, replace=False))
        pixels = self._pixels(listing, track(rows, f"decoding {split} for the linear baseline"))
        return Images(pixels, torch.from_numpy(listing.labels[rows]))

    def _pixels(self, listing: layout.Listing, rows: Any) -> Tensor:
        view = self._centre(transforms.PILToTensor())
        paths = (self.root / listing.paths[i].decode() for i in rows)
        return torch.stack([view(open_image(path, "RGB")[0]) for path in paths])

    def figures(self, split: Split, predictions: Predictions, folder: Path) -> list[Path]:
        """Draw some images, wrongly classified ones first, each with what was predicted."""
        wrong = (predictions.scores.argmax(1) == predictions.target).int()
        rows = wrong.argsort(stable=True)[:24]
        at_hand = Predictions(
            predictions.scores[rows], predictions.target[rows], torch.arange(len(rows))
        )
        pixels = self._pixels(self.listings[split], predictions.index[rows].tolist())
        path = folder / f"{split}_images.png"
        return [draw_predictions(pixels, at_hand, self.spec.classes, path)]
