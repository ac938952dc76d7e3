"""MNIST and its drop-in relatives: four IDX files, 28 x 28 grey images, ten classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from snnexp.data import idx
from snnexp.data.base import DataError, TaskReport
from snnexp.data.cache import cached
from snnexp.data.download import Remote, download
from snnexp.data.image_files import SUFFIXES
from snnexp.data.images import Images, ImageTask, excerpt

SHAPE = (28, 28)
#: images of a complete set
OFFICIAL = {"train": 60_000, "test": 10_000}


@dataclass(frozen=True)
class IdxSet:
    """A published set: where it lies and how to know it.

    `folders` are tried below data_dir, then data_dir itself. `labels` is the SHA-256 of the
    training labels as bytes. `files` are the four official downloads, which go into the first of
    the folders; `how_to_get` is for people.
    """

    title: str
    folders: tuple[str, ...]
    labels: str
    files: tuple[Remote, ...]
    how_to_get: str


def remotes(title: str, urls: tuple[str, ...], md5: Mapping[str, str]) -> tuple[Remote, ...]:
    """Return the four gzipped files below some addresses; `md5` by stem."""
    return tuple(
        Remote(
            name=f"{stem}.gz",
            urls=tuple(f"{url}{stem}.gz" for url in urls),
            checksum=f"md5:{checksum}",
            title=f"{title} ({stem})",
        )
        for stem, checksum in md5.items()
    )


class IdxTask(ImageTask):
    """Base of mnist and fashion_mnist.

    A subclass says what the real set is (`published`), which module's `make_sample` writes the
    sample's files, and what that sample is, in words.
    """

    published: IdxSet
    sample_module: ModuleType
    sample_source: str
    #: IDX files are called train-images-idx3-ubyte, .gz or not
    suffixes = (*SUFFIXES, "", ".gz", ".idx3-ubyte")

    def prepare_data(self) -> None:
        """Make the sample, or find or fetch the real files."""
        self.locate()

    def locate(self) -> Path:
        """Return the folder of the four files; raise DataError where they cannot be had."""
        if self.data == "sample":
            return cached(
                self.cache_dir / "samples" / self.task_name,
                {"task": self.task_name},
                [idx, self.sample_module],
                self.sample_module.make_sample,
                f"the sample data of {self.task_name}",
            )
        places = [self.data_dir / f for f in self.published.folders] + [self.data_dir]
        for place in places:
            if idx.holds_set(place):
                return place
        try:
            for remote in self.published.files:
                download(remote, places[0])
        except DataError as error:
            looked = ", ".join(map(str, places))
            raise DataError(
                f"no IDX files of {self.published.title} in {looked} (data_dir={self.data_dir}).\n"
                f"{self.published.how_to_get}.\n{error}"
            ) from error
        return places[0]

    def read(self) -> dict[Literal["train", "test"], Images]:
        """Read both parts; refuse a complete set that is another one."""
        folder = self.locate()
        parts = idx.read_set(folder, SHAPE, len(self.classes))
        complete = all(len(parts[part][1]) == n for part, n in OFFICIAL.items())
        if complete and idx.digest(parts["train"][1]) != self.published.labels:
            raise DataError(
                f"{folder} holds a complete set of 60,000 + 10,000 images whose labels are not "
                f"those of {self.published.title}: is it another set in the same layout? Give "
                f"a data_dir with {self.published.title}"
            )
        return {part: Images.grey(*parts[part]) for part in ("train", "test")}

    def pixels_of(self, path: Path) -> tuple[Tensor, list[str]]:
        """Read a picture, bright on black as these sets are, or an IDX file of images."""
        if path.suffix.lower() in SUFFIXES:
            return super().pixels_of(path)
        pixels = idx.read_idx(path, 3)
        if pixels.shape[1:] != SHAPE or not len(pixels):
            raise DataError(f"{path} holds images of {pixels.shape}, expected [N, 28, 28]")
        return torch.from_numpy(pixels.copy())[:, None], []

    def report(self) -> TaskReport:
        """Say what was read."""
        sizes, title = self.sizes(), self.published.title
        source, part = self.sample_source, ""
        if self.data == "real":
            part = excerpt(sizes, OFFICIAL)
            source = f"{title}, an excerpt: {part}" if part else f"{title}, complete"
        return TaskReport(self.data, source, sizes, {}, self.published.how_to_get, part)
