"""The caltech task: classes of Caltech-101, by default faces against motorbikes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from scipy.ndimage import gaussian_filter

from snnexp.data import image_files, rendered
from snnexp.data.base import DataError, TaskReport
from snnexp.data.cache import cached
from snnexp.data.download import Remote, download_and_unpack
from snnexp.data.image_batch import Augment, Normalise
from snnexp.data.image_files import class_folders, image_names, open_image
from snnexp.data.images import Images, ImageTask
from snnexp.data.unpack import unpack
from tasks.caltech import sample

FOLDER = sample.FOLDER
ARCHIVE = Remote(
    name="caltech-101.zip",
    urls=("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
    checksum="md5:3138e1922a9193bfa496528edbbc45d0",
    title="Caltech-101",
)
#: the archive within the archive
INNER = Path("caltech-101") / f"{FOLDER}.tar.gz"
#: images of the classes that the experiments here use
OFFICIAL = {"Faces": 435, "Faces_easy": 435, "Motorbikes": 798}
HOW_TO_GET = (
    "Fetch caltech-101.zip of https://data.caltech.edu/records/mzrjq-6wc02 (CC BY 4.0, md5 "
    "3138e1922a9193bfa496528edbbc45d0), unpack it and the 101_ObjectCategories.tar.gz in it, so "
    "that <data_dir>/Caltech101/101_ObjectCategories/<class>/image_0001.jpg exists, and give "
    "data=real data_dir=<data_dir>"
)


def contrast(grey: NDArray[np.uint8], sigma: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the on and off contrast [2, H, W] of a grey image [H, W], as bytes.

        d = G(sigma_0) * I - G(sigma_1) * I,   on = max(d, 0),   off = max(-d, 0)         (1)

    G is a normalised Gaussian of that many pixels; both maps are scaled so that the largest value
    of the pair is 255. A uniform image gives zeros.
    """
    image = grey.astype(np.float64)
    d = gaussian_filter(image, sigma[0]) - gaussian_filter(image, sigma[1])
    pair = np.stack([d.clip(0), (-d).clip(0)])
    peak = pair.max()
    # below one grey level it is rounding noise of the filters
    return (pair * (255 / peak)).round().astype(np.uint8) if peak > 1e-6 else pair.astype(np.uint8)


class CaltechTask(ImageTask):
    """Some classes of Caltech-101, resized to one size. Source: Fei-Fei, Fergus, Perona 2004.

    `categories`: folder names, in the order of the labels. There is no official split: of each
    class `n_train` images are for training and `n_test` (null: all others) for test, either drawn
    by `split_seed` (random), or the first and the last ones in file order (order). Photographs of
    one person follow each other in Faces, so random puts the same people on both sides; order does
    not, but for the person at the border.
    `colour`: grey; rgb; contrast, the on and off maps of `contrast` with the widths `sigma`.
    """

    task_name = "caltech"

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        categories: tuple[str, ...],
        height: int,
        width: int,
        colour: Literal["grey", "rgb", "contrast"],
        sigma: tuple[float, float],
        split: Literal["random", "order"],
        n_train: int,
        n_test: int | None,
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
            normalise=normalise,
            augment=augment,
            val_by=val_by,
            val_share=val_share,
            split_seed=split_seed,
        )
        if len(set(categories)) < 2 or len(set(categories)) < len(categories):
            raise ValueError(f"task.categories needs two or more different names: {categories}")
        self.classes = tuple(categories)
        self.height, self.width, self.colour = height, width, colour
        self.sigma = (float(sigma[0]), float(sigma[1]))
        self.split, self.n_train, self.n_test = split, n_train, n_test
        channels = {"grey": 1, "rgb": 3, "contrast": 2}[colour]
        self.mean, self.std = (0.5,) * channels, (0.25,) * channels
        self.notes: dict[str, int | float | str] = {}
        self.excerpt = ""

    def prepare_data(self) -> None:
        """Make the sample or find the real files, and decode them once."""
        self._decode()

    def locate(self) -> Path:
        """Return the folder of the class folders."""
        if self.data == "sample":
            root = cached(
                self.cache_dir / "samples" / self.task_name,
                {"task": self.task_name},
                [rendered, sample],
                sample.make_sample,
                "the sample data of caltech",
            )
            return root / FOLDER
        places = [
            self.data_dir / "Caltech101" / FOLDER,
            self.data_dir / "caltech101" / FOLDER,
            self.data_dir / FOLDER,
            self.data_dir,
            self.data_dir / "Caltech101" / FOLDER / FOLDER,
        ]
        for place in places:
            if any((place / name).is_dir() for name in self.classes):
                return place
        try:
            root = download_and_unpack(ARCHIVE, self.data_dir / "Caltech101")
            unpack(root / INNER, root / FOLDER, lambda folder: None)
        except DataError as error:
            looked = ", ".join(map(str, places))
            raise DataError(
                f"none of the folders {', '.join(self.classes)} in {looked} "
                f"(data_dir={self.data_dir}).\n{HOW_TO_GET}.\n{error}"
            ) from error
        return places[-1]

    def _decode(self) -> Path:
        """Return the cached folder of the decoded images, building it once."""
        root = self.locate()
        present = class_folders(root)
        lacking = [name for name in self.classes if name not in present]
        if lacking:
            raise DataError(
                f"{root} lacks the folder {', '.join(lacking)} of task.categories; it has "
                f"{', '.join(present[:8])}{', ...' if len(present) > 8 else ''}"
            )
        files = [(c, name) for c in self.classes for name in image_names(root / c)]
        sizes = [(c, name, (root / c / name).stat().st_size) for c, name in files]
        key: dict[str, Any] = {
            "task": self.task_name,
            "files": sha256(json.dumps(sizes).encode()).hexdigest(),
            "size": [self.height, self.width],
            "colour": self.colour,
            "sigma": self.sigma if self.colour == "contrast" else None,
        }
        return cached(
            self.cache_dir / "images" / self.task_name,
            key,
            [image_files, Path(__file__)],
            lambda folder: self._write(folder, root, files),
            "the decoded images of caltech",
        )

    def _write(self, folder: Path, root: Path, files: list[tuple[str, str]]) -> None:
        """Decode all images, in threads (Pillow holds no lock), and write them in order."""
        parallel = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")
        results = parallel(joblib.delayed(self._decode_one)(root / c / name) for c, name in files)
        decoded = list(track(results, "decoding caltech", total=len(files)))
        np.save(folder / "pixels.npy", np.stack([pixels for pixels, _ in decoded]))
        expected = {"RGB"} if self.colour == "rgb" else {"RGB", "L"}
        modes = [mode for _, mode in decoded]
        about = {
            "label": [self.classes.index(c) for c, _ in files],
            "modes": {m: modes.count(m) for m in sorted(set(modes) - expected)},
        }
        (folder / "images.json").write_text(json.dumps(about))

    def _decode_one(self, path: Path) -> tuple[NDArray[np.uint8], str]:
        image, mode = open_image(path, "RGB" if self.colour == "rgb" else "L")
        pixels = np.asarray(image.resize((self.width, self.height), Image.Resampling.BILINEAR))
        if self.colour == "contrast":
            return contrast(pixels, self.sigma), mode
        return (pixels.transpose(2, 0, 1) if self.colour == "rgb" else pixels[None]), mode

    def pixels_of(self, path: Path) -> tuple[torch.Tensor, list[str]]:
        """Decode a photograph as those of the set were."""
        pixels, mode = self._decode_one(path)
        expected = {"RGB"} if self.colour == "rgb" else {"RGB", "L"}
        return torch.from_numpy(pixels.copy())[None], [] if mode in expected else [f"{mode} image"]

    def read(self) -> dict[Literal["train", "test"], Images]:
        """Take the decoded images and deal them to training and test."""
        folder = self._decode()
        about = json.loads((folder / "images.json").read_text())
        self.notes = {f"{mode} images converted": n for mode, n in about["modes"].items()}
        pixels = torch.from_numpy(np.load(folder / "pixels.npy"))
        labels = torch.tensor(about["label"])
        found = {name: about["label"].count(k) for k, name in enumerate(self.classes)}
        self.excerpt = ", ".join(
            f"{n} of {OFFICIAL[name]} {name}"
            for name, n in found.items()
            if n != OFFICIAL.get(name, n)
        )
        rows: dict[Literal["train", "test"], list[torch.Tensor]] = {"train": [], "test": []}
        rng = torch.Generator().manual_seed(self.split_seed)
        for k, name in enumerate(self.classes):
            own = (labels == k).nonzero()[:, 0]
            n_test = len(own) - self.n_train if self.n_test is None else self.n_test
            if self.n_train < 1 or n_test < 1 or self.n_train + n_test > len(own):
                raise DataError(
                    f"{name} has {len(own)} images, too few for task.n_train={self.n_train} and "
                    f"task.n_test={self.n_test}"
                )
            if self.split == "random":
                own = own[torch.randperm(len(own), generator=rng)]
            rows["train"].append(own[: self.n_train].sort().values)
            rows["test"].append(own[len(own) - n_test :].sort().values)
        # training images class by class would be poison for a rule that learns in file order
        order = torch.randperm(self.n_train * len(self.classes), generator=rng)
        train, test = torch.cat(rows["train"])[order], torch.cat(rows["test"])
        return {
            "train": Images(pixels[train], labels[train]),
            "test": Images(pixels[test], labels[test]),
        }

    def report(self) -> TaskReport:
        """Say which images these were."""
        source, excerpt = "drawn faces and motorbikes", ""
        if self.data == "real":
            source, excerpt = f"Caltech-101, the classes {', '.join(self.classes)}", self.excerpt
        return TaskReport(self.data, source, self.sizes(), self.notes, HOW_TO_GET, excerpt)
