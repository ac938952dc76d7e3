"""The nmnist task: N-MNIST recordings by digit, official `.bin` layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from snnexp.data.base import TaskReport
from snnexp.data.download import Remote
from snnexp.data.event_files import find_or_fetch, inner, sample_folder
from snnexp.data.event_frames import Cut, Recording, Role
from snnexp.data.event_task import EventClassification
from snnexp.data.events import Binning, Events, FrameFormat, OnBad, Sensor
from tasks.nmnist import recording as layout
from tasks.nmnist import sample

FOLDERS: tuple[tuple[Role, str], ...] = (("train", "Train"), ("test", "Test"))
#: recordings of the complete set
OFFICIAL = {"train": 60_000, "test": 10_000}
HOW_TO_GET = (
    "data=real data_dir=<folder> takes N-MNIST (doi 10.17632/468j46mzdv.1, CC BY-SA 4.0) from "
    "<folder>/NMNIST/Train/<digit>/*.bin and .../Test/<digit>/*.bin, or fetches it there (1.1 GB)"
)
_FILES = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
ARCHIVES = {
    "Train": Remote(
        name="Train.zip",
        urls=(f"{_FILES}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",),
        checksum="md5:20959b8e626244a1b502305a9e6e2031",
        title="N-MNIST, training set",
    ),
    "Test": Remote(
        name="Test.zip",
        urls=(f"{_FILES}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",),
        checksum="md5:69ca8762b2fe404d9b9bad1103e97832",
        title="N-MNIST, test set",
    ),
}


class NMNISTTask(EventClassification):
    """N-MNIST, 34 x 34 pixels, ten digits, about 300 ms a recording.

    Source: Orchard et al. 2015, Frontiers in Neuroscience 9, 437.
    """

    task_name = "nmnist"
    sensor = Sensor(34, 34)
    readers = (layout,)
    classes = tuple(str(k) for k in range(10))
    suffixes = (".bin",)

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        binning: Binning,
        frame_format: FrameFormat,
        on_bad: OnBad,
        val_by: Literal["none", "tail"],
        val_share: float,
        split_seed: int,
        temporal_delete: int | None,
    ) -> None:
        super().__init__(
            data=data,
            data_dir=data_dir,
            cache_dir=cache_dir,
            batch_size=batch_size,
            num_workers=num_workers,
            binning=binning,
            frame_format=frame_format,
            on_bad=on_bad,
            val_by=val_by,
            val_share=val_share,
            split_seed=split_seed,
            temporal_delete=temporal_delete,
        )

    def locate(self) -> Path:
        """Return the folder with Train and Test."""
        if self.data == "sample":
            return sample_folder(self, "nmnist", sample.make_sample, [sample, layout])
        return find_or_fetch(self.data_dir, ["NMNIST"], "Test", HOW_TO_GET, ARCHIVES)

    def recordings(self, root: Path) -> list[Recording]:
        """List the files by split, digit and name, as SpikingJelly orders them."""
        return [
            Recording(path, role, path.stem, (Cut(int(digit)),))
            for role, folder in FOLDERS
            for digit in self.classes
            for path in sorted((inner(root / folder) / digit).glob("*.bin"))
        ]

    def read(self, recording: Recording, notes: Counter[str]) -> Events:
        """Read one recording."""
        return layout.read_bin(recording.path, self.on_bad, notes)

    def key(self) -> dict[str, Any]:
        """Return nothing: the binning says all."""
        return {}

    def report(self) -> TaskReport:
        """Say which part of N-MNIST this was."""
        sizes = self.sizes()
        counts = {"train": sizes["train"] + sizes["val"], "test": sizes["test"]}
        source, excerpt = "N-MNIST, complete", ""
        if self.data == "sample":
            source = "scikit-learn's digits under three simulated saccades"
        elif counts != OFFICIAL:
            excerpt = (
                f"{counts['train']:,} of 60,000 training and {counts['test']:,} of 10,000 test "
                "recordings"
            )
            source = f"N-MNIST, an excerpt: {excerpt}"
        return TaskReport(self.data, source, sizes, dict(self.store.notes), HOW_TO_GET, excerpt)
