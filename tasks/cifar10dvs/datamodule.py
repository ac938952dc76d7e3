"""The cifar10dvs task: CIFAR10-DVS recordings by class, with the splits of both papers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from snnexp.data.aedat import read_aedat2, read_aedat4
from snnexp.data.base import TaskReport
from snnexp.data.download import Remote
from snnexp.data.event_files import find_or_fetch, find_root, sample_folder
from snnexp.data.event_frames import Recording
from snnexp.data.event_task import EventClassification
from snnexp.data.events import Binning, Events, FrameFormat, OnBad, Sensor
from tasks.cifar10dvs import layout, sample

FOLDERS = ["CIFAR10DVS", "CIFAR10-DVS"]
SUFFIX = {"aedat": ".aedat", "aedat4": ".aedat4"}
OFFICIAL = 10_000
_FILES = "https://api.figshare.com/v2/file/download"
HOW_TO_GET = {
    "aedat": (
        "data=real data_dir=<folder> takes CIFAR10-DVS (figshare article 4724671) from "
        "<folder>/CIFAR10DVS/<class>/*.aedat, or fetches the ten class archives there"
    ),
    "aedat4": (
        f"Fetch {_FILES}/38023437 (CIFAR10DVS.zip, 11.2 GB, md5 ce3a4a0682dc0943703bd8f749a7701c), "
        "unpack it and the archives in it to <data_dir>/CIFAR10DVS/<class>/*.aedat4, pip install "
        "aedat, and give data=real data_dir=<data_dir> task.source=aedat4"
    ),
}
_CHECKSUMS = {
    "airplane": (7712788, "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": (7712791, "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": (7712794, "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": (7712812, "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": (7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": (7712818, "f379ebdf6703d16e0a690782e62639c3"),
    "frog": (7712842, "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": (7712851, "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": (7712836, "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": (7712839, "89f3922fd147d9aeff89e76a2b0b70a7"),
}
ARCHIVES = {
    name: Remote(
        name=f"{name}.zip",
        urls=(f"{_FILES}/{number}",),
        checksum=f"md5:{md5}",
        title=f"CIFAR10-DVS, {name}",
    )
    for name, (number, md5) in _CHECKSUMS.items()
}


class CIFAR10DVSTask(EventClassification):
    """CIFAR10-DVS, 128 x 128 pixels, ten classes of 1,000 recordings.

    `split`: sew or plif, the two papers' rules for 9,000 + 1,000 (tasks.cifar10dvs.layout).
    `frame_format.orientation`: anti_transpose is the SEW code's (x <- 127 - y, y <- 127 - x),
    flip_x the PLIF code's (x <- 127 - x). Classes without a folder are left out, and said to be.
    Source: Li et al. 2017, Frontiers in Neuroscience 11, 309.
    """

    task_name = "cifar10dvs"
    sensor = Sensor(128, 128)
    readers = (layout,)

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        source: Literal["aedat", "aedat4"],
        split: Literal["sew", "plif"],
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
        if data == "sample" and source != "aedat":
            raise ValueError("task.source=aedat4 needs data=real; the sample is written as aedat")
        self.source, self.split = source, split
        self.suffixes = (SUFFIX[source],)
        self.classes = layout.CLASSES

    def locate(self) -> Path:
        """Return the folder of the class folders."""
        if self.data == "sample":
            return sample_folder(self, "cifar10dvs", sample.make_sample, [sample])
        how = HOW_TO_GET[self.source]
        if self.source == "aedat":
            return find_or_fetch(self.data_dir, FOLDERS, "airplane", how, ARCHIVES)
        return find_root(self.data_dir, FOLDERS, "airplane", how)

    def recordings(self, root: Path) -> list[Recording]:
        """List the recordings of the classes that are there."""
        self.classes = layout.classes_present(root)
        return layout.recordings(root, SUFFIX[self.source], self.split, self.classes)

    def read(self, recording: Recording, notes: Counter[str]) -> Events:
        """Read one recording, in jAER's coordinates."""
        if self.source == "aedat":
            return read_aedat2(recording.path, self.on_bad, notes)
        return read_aedat4(recording.path)

    def key(self) -> dict[str, Any]:
        """Return source and split rule."""
        return {"source": self.source, "split": self.split}

    def report(self) -> TaskReport:
        """Say which part of CIFAR10-DVS this was."""
        sizes = self.sizes()
        total = sum(sizes.values())
        source, excerpt = "CIFAR10-DVS, complete", ""
        if self.data == "sample":
            source = "drawn things of five classes moved before a simulated event camera"
        elif total != OFFICIAL:
            excerpt = f"{total:,} of 10,000 recordings"
            source = f"CIFAR10-DVS, an excerpt: {excerpt}"
        notes: dict[str, int | float | str] = dict(self.store.notes)
        if len(self.classes) < len(layout.CLASSES):
            notes["classes"] = f"{len(self.classes)} of {len(layout.CLASSES)}"
        return TaskReport(self.data, source, sizes, notes, HOW_TO_GET[self.source], excerpt)
