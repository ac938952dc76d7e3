"""The gesture task: DVS128 Gesture, from IBM's recordings or from the pre-cut copy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from snnexp.data.aedat import read_aedat31
from snnexp.data.base import TaskReport
from snnexp.data.download import Remote
from snnexp.data.event_files import find_or_fetch, find_root, sample_folder
from snnexp.data.event_frames import Cut, Recording
from snnexp.data.event_task import EventClassification
from snnexp.data.events import Binning, Events, FrameFormat, OnBad, Sensor
from tasks.gesture import arms, layout, sample

#: samples of the complete set: one a label row, or one a file of the pre-cut copy
OFFICIAL = {"aedat": {"train": 1176, "test": 288}, "tonic": {"train": 1077, "test": 264}}
HOW_TO_GET = {
    "aedat": (
        "Fetch DvsGesture.tar.gz (md5 8a5c71fb11e24e5ca5b11866ca6c00a1, CC BY 4.0) by hand from "
        "research.ibm.com/interactive/dvsgesture, unpack it to <data_dir>/DvsGesture, and give "
        "data=real data_dir=<data_dir>; or take the pre-cut copy with task.source=tonic"
    ),
    "tonic": (
        "data=real data_dir=<folder> task.source=tonic takes the pre-cut copy from "
        "<folder>/DVSGesture/ibmGesture{Train,Test}, or fetches it there (3.1 GB)"
    ),
}
_FILES = "https://api.figshare.com/v2/file/download"
ARCHIVES = {
    "ibmGestureTrain": Remote(
        name="ibmGestureTrain.tar.gz",
        urls=(f"{_FILES}/38022171",),
        checksum="md5:3a8f0d4120a166bac7591f77409cb105",
        title="DVS128 Gesture, pre-cut training set",
    ),
    "ibmGestureTest": Remote(
        name="ibmGestureTest.tar.gz",
        urls=(f"{_FILES}/38020584",),
        checksum="md5:56070e45dadaa85fff82e0fbfbc06de5",
        title="DVS128 Gesture, pre-cut test set",
    ),
}


class GestureTask(EventClassification):
    """DVS128 Gesture, 128 x 128 pixels, eleven classes, users apart in training and test.

    `source`: aedat cuts IBM's recordings by every label row (1176 + 288 samples); tonic reads the
    pre-cut copy (1077 + 264). `fix_user22` ends class 9 of user22_led at 104000000 us, before
    class 10 starts, as a published mirror does.
    Source: Amir et al. 2017, CVPR.
    """

    task_name = "gesture"
    sensor = Sensor(128, 128)
    readers = (layout,)
    classes = layout.CLASSES

    def __init__(
        self,
        *,
        data: Literal["sample", "real"],
        data_dir: str,
        cache_dir: str,
        batch_size: int,
        num_workers: int,
        source: Literal["aedat", "tonic"],
        fix_user22: bool,
        binning: Binning,
        frame_format: FrameFormat,
        on_bad: OnBad,
        val_by: Literal["none", "tail", "group"],
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
            raise ValueError("task.source=tonic needs data=real; the sample is written as aedat")
        self.source, self.fix_user22 = source, fix_user22
        self.suffixes = (".aedat",) if source == "aedat" else (".npy",)

    def locate(self) -> Path:
        """Return the folder with the trials lists, or with ibmGestureTrain."""
        if self.data == "sample":
            return sample_folder(self, "gesture", sample.make_sample, [sample, arms, layout])
        how = HOW_TO_GET[self.source]
        if self.source == "aedat":
            folders = ["DvsGesture", "DVSGesture"]
            return find_root(self.data_dir, folders, "trials_to_train.txt", how)
        return find_or_fetch(self.data_dir, ["DVSGesture"], "ibmGestureTest", how, ARCHIVES)

    def recordings(self, root: Path) -> list[Recording]:
        """List the recordings with their cuts."""
        if self.source == "aedat":
            return layout.aedat_recordings(root, self.fix_user22)
        return layout.tonic_recordings(root)

    def read(self, recording: Recording, notes: Counter[str]) -> Events:
        """Read one recording, or one pre-cut file."""
        if self.source == "aedat":
            return read_aedat31(recording.path, self.on_bad, notes)
        return layout.read_npy(recording.path)

    def stretches(self, path: Path) -> dict[str, Cut]:
        """Return the label rows of IBM's recording where they lie beside it, else the whole."""
        labels = path.with_name(f"{path.stem}_labels.csv")
        if self.source != "aedat" or not labels.is_file():
            return super().stretches(path)
        cuts = layout.read_labels(labels, self.fix_user22)
        return {f"{i}: {layout.CLASSES[cut.label]} by its label": cut for i, cut in enumerate(cuts)}

    def key(self) -> dict[str, Any]:
        """Return the source; the cuts are part of the key already."""
        return {"source": self.source}

    def report(self) -> TaskReport:
        """Say which samples these were."""
        sizes = self.sizes()
        counts = {"train": sizes["train"] + sizes["val"], "test": sizes["test"]}
        official = OFFICIAL[self.source]
        notes: dict[str, int | float | str] = dict(self.store.notes)
        excerpt = ""
        if self.data == "sample":
            source = "24 drawn people, 11 gestures, simulated event camera"
        else:
            if counts != official:
                excerpt = (
                    f"{counts['train']:,} of {official['train']:,} training and "
                    f"{counts['test']:,} of {official['test']:,} test samples"
                )
            source = f"DVS128 Gesture ({self.source}), {excerpt or 'complete'}"
            if self.source == "aedat":
                overlapping = layout.overlaps(self.recordings(self.locate()))
                notes["label rows that overlap the one ahead"] = overlapping
        return TaskReport(self.data, source, sizes, notes, HOW_TO_GET[self.source], excerpt)
