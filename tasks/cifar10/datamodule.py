"""The cifar10 task: 32 x 32 colour photographs, official python batches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from snnexp.data import rendered
from snnexp.data.base import DataError, TaskReport
from snnexp.data.cache import cached
from snnexp.data.download import Remote, download_and_unpack
from snnexp.data.images import Images, ImageTask, excerpt
from tasks.cifar10 import layout, sample

#: images of the complete set
OFFICIAL = {"train": 50_000, "test": 10_000}
NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
ARCHIVE = Remote(
    name="cifar-10-python.tar.gz",
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    checksum="md5:c58f30108f718f92721af3b95e74349a",
    title="CIFAR-10, python version",
)
HOW_TO_GET = (
    "Fetch https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (md5 "
    "c58f30108f718f92721af3b95e74349a), unpack it so that "
    "<data_dir>/cifar-10-batches-py/data_batch_1 exists, and give data=real data_dir=<data_dir>"
)


class CIFAR10Task(ImageTask):
    """CIFAR-10, ten classes. Source: Krizhevsky 2009, technical report, University of Toronto."""

    task_name = "cifar10"
    classes: tuple[str, ...] = NAMES
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

    def prepare_data(self) -> None:
        """Make the sample, or find the real files."""
        self.locate()

    def locate(self) -> Path:
        """Return the folder of the batch files."""
        if self.data == "sample":
            root = cached(
                self.cache_dir / "samples" / self.task_name,
                {"task": self.task_name},
                [rendered, layout, sample],
                sample.make_sample,
                "the sample data of cifar10",
            )
            return root / layout.FOLDER
        places = [self.data_dir / layout.FOLDER, self.data_dir / "CIFAR10" / layout.FOLDER]
        places.append(self.data_dir)
        for place in places:
            if (place / layout.TRAIN[0]).exists():
                return place
        try:
            return download_and_unpack(ARCHIVE, self.data_dir / "CIFAR10") / layout.FOLDER
        except DataError as error:
            looked = ", ".join(map(str, places))
            raise DataError(
                f"no {layout.TRAIN[0]} in {looked} (data_dir={self.data_dir}).\n{HOW_TO_GET}.\n"
                f"{error}"
            ) from error

    def read(self) -> dict[Literal["train", "test"], Images]:
        """Read five training batches and the test batch; check the class names."""
        folder = self.locate()
        self.classes = rendered.CLASS_NAMES if self.data == "sample" else NAMES
        layout.check_names(folder, self.classes)
        train, test = (layout.read_part(folder, part) for part in (layout.TRAIN, layout.TEST))
        return {
            "train": Images(torch.from_numpy(train[0]), torch.from_numpy(train[1])),
            "test": Images(torch.from_numpy(test[0]), torch.from_numpy(test[1])),
        }

    def report(self) -> TaskReport:
        """Say what was read."""
        sizes = self.sizes()
        source, part = "rendered figures, plain and striped", ""
        if self.data == "real":
            part = excerpt(sizes, OFFICIAL)
            source = f"CIFAR-10, an excerpt: {part}" if part else "CIFAR-10, complete"
        return TaskReport(self.data, source, sizes, {}, HOW_TO_GET, part)
