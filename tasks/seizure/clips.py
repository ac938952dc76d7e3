"""Reader of the Mayo Clinic / UPenn detection clips: one-second .mat files in patient folders.

Letters: C channels, T samples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import matfile_version
from scipy.signal import resample_poly

from snnexp.data.base import DataError
from tasks.seizure.mat import check_mat
from tasks.seizure.windows import Block, WindowTable

FOLDER = "SeizureDetection"
REAL_DATA = (
    "the detection clips of the 2014 UPenn and Mayo Clinic contest: 'Sz detection data clips' at "
    "http://msel.mayo.edu/data.html (or the contest's clips archive). Unpack to "
    f"<data_dir>/{FOLDER}/<Patient>/<Patient>_ictal_segment_<k>.mat and "
    "..._interictal_segment_<k>.mat, e.g. Patient_3/Patient_3_ictal_segment_1.mat"
)

_NAME = re.compile(r"^(?P<patient>.+)_(?P<kind>ictal|interictal|test)_segment_0*(?P<k>\d+)\.mat$")
_SECONDS = 1.0


@dataclass(frozen=True)
class ClipFile:
    """One labelled clip on disk."""

    path: Path
    patient: str
    ictal: bool
    number: int


@dataclass(frozen=True)
class Clip:
    """The content of one clip: data [C, T], rate in Hz, names of the channels ('' if not given)."""

    data: NDArray[np.float32]
    rate: float
    channels: tuple[str, ...]
    latency: float


def find_root(data_dir: Path) -> Path:
    """Return the folder that holds the patients' folders; raise DataError with what to fetch."""
    for root in (data_dir / FOLDER, data_dir / FOLDER / "clips", data_dir, data_dir / "clips"):
        if root.is_dir() and any(_is_patient(folder) for folder in root.iterdir()):
            return root
    raise DataError(
        f"no seizure clips below data_dir={data_dir}: expected <Patient>/<Patient>_ictal_segment_"
        f"<k>.mat there, in {FOLDER}/ or in clips/. Needed are {REAL_DATA}"
    )


def _is_patient(folder: Path) -> bool:
    return folder.is_dir() and any(_NAME.match(f.name) for f in folder.glob("*_segment_*.mat"))


def list_clips(
    root: Path, patients: Sequence[str] | None, notes: dict[str, int]
) -> dict[str, list[ClipFile]]:
    """List each patient's labelled clips, ictal then interictal, each by number.

    Unlabelled `test` clips of the contest and other .mat files are left out and counted in notes.
    """
    found = {f.name: f for f in sorted(root.iterdir()) if _is_patient(f)}
    missing = [p for p in patients or () if p not in found]
    if missing:
        raise DataError(f"task.source.patients names {missing}, but {root} has {sorted(found)}")
    clips: dict[str, list[ClipFile]] = {}
    for name in patients or found:
        clips[name] = []
        for path in sorted(found[name].glob("*.mat")):
            match = _NAME.match(path.name)
            if match is None or match["patient"] != name:
                notes["files with other names"] = notes.get("files with other names", 0) + 1
            elif match["kind"] == "test":
                notes["unlabelled contest clips"] = notes.get("unlabelled contest clips", 0) + 1
            else:
                ictal = match["kind"] == "ictal"
                clips[name].append(ClipFile(path, name, ictal, int(match["k"])))
        clips[name].sort(key=lambda c: (not c.ictal, c.number))
        if len({c.ictal for c in clips[name]}) < 2:
            raise DataError(f"{found[name]} needs both ictal and interictal clips")
    return clips


def read_clip(path: Path) -> Clip:
    """Read one clip.

    Two layouts are known: a struct named as the file's tail (`ictal_segment_7`) with field `data`
    (the Mayo packaging, the authors' notebook) and top-level variables `data`, `freq`, `latency`,
    `channels` (the contest's archive). `data` is channels x samples. Where no rate is given it is
    the number of samples: a clip lasts one second. Raises DataError for anything else.
    """
    try:
        version, _ = matfile_version(path)
        if version == 2:
            raise DataError(f"{path}: MATLAB 7.3 file; save it again with save(..., '-v7')")
        check_mat(path.read_bytes())
        content = loadmat(path, squeeze_me=False)
    except DataError:
        raise
    except Exception as error:  # scipy raises whatever damaged bytes lead it into
        raise DataError(f"{path}: not a readable .mat file ({error})") from error
    struct = path.stem[path.stem.rfind("_", 0, path.stem.rfind("_segment_")) + 1 :]
    struct = re.sub(r"_0*(\d+)$", r"_\1", struct)
    variables = sorted(name for name in content if not name.startswith("__"))
    values: Mapping[str, Any] = content
    if struct in content and content[struct].dtype.names:
        values = {name: content[struct][name].flat[0] for name in content[struct].dtype.names}
    if "data" not in values:
        raise DataError(
            f"{path}: no struct '{struct}' with a field 'data' (nor a variable 'data'); the file "
            f"holds {variables}"
        )
    data = np.asarray(values["data"])
    if data.ndim != 2 or data.dtype.kind not in "iuf" or not data.shape[0] * data.shape[1] > 1:
        raise DataError(f"{path}: data must be channels x samples, got {data.dtype} {data.shape}")
    rate = _scalar(values, "freq", _scalar(values, "sampling_frequency", data.shape[1] / _SECONDS))
    names = tuple(str(np.squeeze(n)) for n in np.ravel(values.get("channels", ())))
    if len(names) != len(data):
        names = ("",) * len(data)
    return Clip(data.astype(np.float32), rate, names, _scalar(values, "latency", float("nan")))


def _scalar(values: Mapping[str, Any], name: str, default: float) -> float:
    value = np.ravel(np.asarray(values.get(name, ())))
    return float(value[0]) if value.size and value.dtype.kind in "iuf" else default


def load_clip(file: ClipFile, rate: float | None) -> Block:
    """Read one clip as a block of one window, resampled to `rate` Hz unless None.

    Its `start` is the latency since the seizure's onset, NaN where the file does not say.
    """
    clip = read_clip(file.path)
    data = clip.data
    if rate is not None and rate != clip.rate:
        length = round(data.shape[1] * rate / clip.rate)
        ratio = Fraction(rate / clip.rate).limit_denominator(1000)
        data = resample_poly(data, ratio.numerator, ratio.denominator, axis=1, padtype="line")
        data = data[:, :length]
    rows = WindowTable(
        patient=np.array([file.patient]),
        group=np.array([""]),
        source=np.array([file.path.name]),
        number=np.array([file.number]),
        start=np.array([clip.latency]),
        end=np.array([clip.latency + clip.data.shape[1] / clip.rate]),
        label=np.array([int(file.ictal)]),
        eventful=np.array([file.ictal]),
    )
    return Block(data[None], clip.rate if rate is None else float(rate), rows)


def group_clips(
    table: WindowTable, seizure_starts: Mapping[str, Sequence[int]] | None, known: bool
) -> WindowTable:
    """Give clips their groups: one seizure, or one run of consecutive interictal clips.

    A seizure starts where the latency of successive ictal clips does not rise, or at the clip
    numbers `seizure_starts[patient]`. Interictal clips carry no such mark; the contest took its
    interictal stretches about as long as a seizure, so runs of the mean seizure length are groups.
    Without either mark DataError is raised, or, where the seizures need not be `known`, a patient's
    ictal clips are one group.
    """
    group = np.empty(len(table), dtype=object)
    for patient in np.unique(table.patient):
        ictal = np.flatnonzero((table.patient == patient) & (table.label == 1))
        ictal = ictal[np.argsort(table.number[ictal])]
        if seizure_starts is not None and patient in seizure_starts:
            starts = sorted(seizure_starts[patient])
            seizure = np.searchsorted(starts, table.number[ictal], "right")
        else:
            latency = table.start[ictal]
            unknown = int(np.isnan(latency).sum())
            if unknown and known:
                raise DataError(
                    f"{unknown} ictal clips of {patient} carry no latency, so the seizures they "
                    "belong to are unknown: give each seizure's first clip number as "
                    f"task.source.seizure_starts={{{patient}: [1, ...]}}, or take "
                    "task.protocol=ranges"
                )
            # Comparing with NaN is false: unknown latencies start no seizure.
            seizure = 1 + np.concatenate([[0], np.cumsum(np.diff(latency) <= 0)])
        group[ictal] = [f"{patient}/seizure{k:03d}" for k in seizure]
        run = max(1, round(len(ictal) / len(np.unique(seizure))))
        quiet = np.flatnonzero((table.patient == patient) & (table.label == 0))
        group[quiet] = [f"{patient}/interictal{(n - 1) // run:03d}" for n in table.number[quiet]]
    return replace(table, group=group.astype(str))
