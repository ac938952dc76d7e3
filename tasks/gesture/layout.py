"""The two layouts of DVS128 Gesture on disk.

`aedat`, IBM's own: userNN_<light>.aedat (AEDAT 3.1), userNN_<light>_labels.csv with the rows
class (1-11), startTime_usec, endTime_usec, and trials_to_train.txt, trials_to_test.txt.
`tonic`, the pre-cut copy: ibmGesture{Train,Test}/userNN_<light>/<class 0-10>.npy with the columns
x, y, polarity, time in milliseconds; one file a class, so a class twice in a recording lost one.

Source: Amir et al. 2017, CVPR, and the files of that data set.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError
from snnexp.data.event_files import inner
from snnexp.data.event_frames import Cut, Recording, Role
from snnexp.data.events import Events

CLASSES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)
COLUMNS = ["class", "startTime_usec", "endTime_usec"]
LISTS: tuple[tuple[Role, str], ...] = (
    ("train", "trials_to_train.txt"),
    ("test", "trials_to_test.txt"),
)
TONIC: tuple[tuple[Role, str], ...] = (("train", "ibmGestureTrain"), ("test", "ibmGestureTest"))
#: user22_led_labels.csv: class 9 ends after class 10 starts; where a published mirror ends it
USER22_LED = (9, 110_590_564, 104_000_000)


def aedat_recordings(root: Path, fix_user22: bool) -> list[Recording]:
    """List the recordings of both trials lists, sorted by name, with the cuts of their labels."""
    recordings = []
    for role, listed in LISTS:
        path = root / listed
        if not path.is_file():
            raise DataError(f"{path} is missing: it says which recordings are for {role}")
        for name in sorted(path.read_text().split(), key=lambda n: Path(n).stem):
            file = root / name
            if not file.is_file():
                raise DataError(f"{file} is missing, but {path} lists it; unpack it again")
            cuts = read_labels(file.with_name(f"{file.stem}_labels.csv"), fix_user22)
            recordings.append(Recording(file, role, file.stem.split("_")[0], cuts))
    return recordings


def read_labels(path: Path, fix_user22: bool) -> tuple[Cut, ...]:
    """Read the label rows of one recording; each becomes a sample, classes counted from 0."""
    if not path.is_file():
        raise DataError(f"{path} is missing: a recording cannot be used without its labels")
    with path.open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    if not rows or rows[0] != COLUMNS:
        raise DataError(f"{path}: the first line must be {','.join(COLUMNS)}")
    cuts = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            label, start, stop = (int(cell) for cell in row)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {row} are no three integers") from error
        if fix_user22 and path.stem.startswith("user22_led_") and (label, stop) == USER22_LED[:2]:
            stop = USER22_LED[2]
        if not 1 <= label <= len(CLASSES) or start >= stop:
            raise DataError(
                f"{path}, line {number}: class {label} from {start} to {stop} us; expected a class "
                f"from 1 to {len(CLASSES)} and a start before the end"
            )
        cuts.append(Cut(label - 1, start, stop))
    return tuple(cuts)


def overlaps(recordings: list[Recording]) -> int:
    """Count the label rows that start before the row ahead of them ends."""
    return sum(
        (after.start_us or 0) < (before.stop_us or 0)
        for r in recordings
        for before, after in zip(r.cuts, r.cuts[1:], strict=False)
    )


def tonic_recordings(root: Path) -> list[Recording]:
    """List the files of the pre-cut copy by class and name."""
    recordings = []
    for role, folder in TONIC:
        files = inner(root / folder).glob("user*/*.npy")
        for path in sorted(files, key=lambda p: (int(p.stem), p.parent.name)):
            label = int(path.stem)
            if label >= len(CLASSES):
                raise DataError(f"{path}: a file is named after its class, 0 to 10")
            recordings.append(Recording(path, role, path.parent.name.split("_")[0], (Cut(label),)))
    return recordings


def read_npy(path: Path) -> Events:
    """Read one file of the pre-cut copy; its times are whole milliseconds."""
    try:
        table: NDArray[Any] = np.load(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no sound .npy file ({error}); fetch it again") from error
    if table.ndim != 2 or table.shape[1] != 4:
        raise DataError(f"{path} has shape {table.shape}; expected columns x, y, polarity, time")
    x, y, p, t = table.T
    return Events(
        x.astype(np.int16),
        y.astype(np.int16),
        np.round(t * 1000).astype(np.int64),
        (p > 0).astype(np.uint8),
    )
