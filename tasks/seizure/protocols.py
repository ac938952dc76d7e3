"""Named splits of the window table; all but `ranges` are disjoint by seizure or recording.

Letters: N windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from snnexp.data.base import DataError, Split
from snnexp.data.splits import check_disjoint
from tasks.seizure.windows import WindowTable

Protocol = Literal["ranges", "seizures", "leave_one_seizure_out", "leave_one_patient_out", "kfold"]
Rows = dict[Split, NDArray[np.int64]]
Ranges = Mapping[str, Mapping[str, Sequence[int]]]

_T = TypeVar("_T")
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def split_rows(
    protocol: Protocol,
    table: WindowTable,
    *,
    fold: int,
    n_folds: int,
    split_seed: int,
    ranges: Ranges | None,
) -> Rows:
    """Return the rows of each split under a named protocol.

    - `ranges`: clip numbers per split and class (the authors' protocol); seizures may be shared.
    - `seizures`: of each patient a fifth of the seizures, and of the quiet stretches, tests and a
      fifth validates (at least one each), drawn by `split_seed`.
    - `leave_one_seizure_out`: fold k tests on seizure k (all patients' in order) with its share of
      the same patient's quiet stretches, validates on the next seizure of that patient, trains on
      the rest; `task.source.patients` with one name makes it patient-specific.
    - `leave_one_patient_out`: fold k tests on patient k, validates on patient k + 1.
    - `kfold`: groups dealt into `n_folds` by patient and class, drawn by `split_seed`;
      fold k tests, k + 1 validates.
    """
    match protocol:
        case "ranges":
            rows = _by_ranges(table, ranges)
        case "seizures":
            rows = _by_seizures(table, split_seed)
        case "leave_one_seizure_out":
            rows = _leave_one_seizure_out(table, fold)
        case "leave_one_patient_out":
            rows = _leave_one_patient_out(table, fold)
        case "kfold":
            rows = _kfold(table, fold, n_folds, split_seed)
    empty = [split for split in _SPLITS if len(rows[split]) == 0]
    if empty:
        raise DataError(f"task.protocol={protocol} leaves {empty} empty: too few data for it")
    if protocol != "ranges":
        check_disjoint(groups_of(table, rows), "seizures, recordings or segments")
    return rows


def count_folds(protocol: Protocol, table: WindowTable, n_folds: int) -> int | None:
    """Return how many folds a protocol has; None for those without."""
    match protocol:
        case "leave_one_seizure_out":
            return len(_groups(table, table.eventful))
        case "leave_one_patient_out":
            return len(np.unique(table.patient))
        case "kfold":
            return n_folds
    return None


def groups_of(table: WindowTable, rows: Rows) -> dict[Split, list[str]]:
    """Return the groups each split draws from."""
    return {split: np.unique(table.group[rows[split]]).tolist() for split in _SPLITS}


def _rows(table: WindowTable, groups: Mapping[Split, Sequence[str]]) -> Rows:
    return {s: np.flatnonzero(np.isin(table.group, list(groups[s]))) for s in _SPLITS}


def _groups(table: WindowTable, wanted: NDArray[np.bool_]) -> list[str]:
    return sorted(np.unique(table.group[wanted]).tolist())


def _by_ranges(table: WindowTable, ranges: Ranges | None) -> Rows:
    """First and last clip number per split and class, both included."""
    if ranges is None:
        raise DataError("task.protocol=ranges needs task.ranges")
    patients = np.unique(table.patient)
    if len(patients) != 1:
        raise DataError(
            f"task.protocol=ranges counts one patient's clips, task.source.patients={patients}"
        )
    rows: Rows = {}
    for split in _SPLITS:
        wanted = np.zeros(len(table), bool)
        for kind, label in (("interictal", 0), ("ictal", 1)):
            first, last = ranges[split][kind]
            here = (table.label == label) & (table.number >= first) & (table.number <= last)
            missing = sorted(set(range(first, last + 1)) - set(table.number[here].tolist()))
            if missing:
                raise DataError(
                    f"task.ranges.{split}.{kind} names clips {first}-{last} of {patients[0]}, but "
                    f"{len(missing)} are not there (first: {missing[0]})"
                )
            wanted |= here
        rows[split] = np.flatnonzero(wanted)
    return rows


def _by_seizures(table: WindowTable, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    groups: dict[Split, list[str]] = {s: [] for s in _SPLITS}
    for patient in np.unique(table.patient):
        for eventful in (True, False):
            names = _groups(table, (table.patient == patient) & (table.eventful == eventful))
            if eventful and len(names) < 3:
                raise DataError(
                    f"patient {patient} has {len(names)} units with seizures; splitting by seizure "
                    "needs 3: leave it out by task.source.patients, or take another task.protocol"
                )
            share = max(1, round(len(names) / 5)) if len(names) > 2 else 0
            order = [names[i] for i in rng.permutation(len(names))]
            groups["test"] += order[:share]
            groups["val"] += order[share : 2 * share]
            groups["train"] += order[2 * share :]
    return _rows(table, groups)


def _leave_one_seizure_out(table: WindowTable, fold: int) -> Rows:
    seizures = _groups(table, table.eventful)
    held = _pick(seizures, fold, "seizures")
    patient = table.patient[table.group == held][0]
    own = _groups(table, table.eventful & (table.patient == patient))
    quiet = _groups(table, ~table.eventful & (table.patient == patient))
    if len(own) < 3:
        raise DataError(f"patient {patient} has {len(own)} units with seizures; 3 are needed")
    place = own.index(held)
    following = (place + 1) % len(own)
    groups: dict[Split, list[str]] = {
        "test": [held, *quiet[place :: len(own)]],
        "val": [own[following], *quiet[following :: len(own)]],
    }
    taken = {*groups["test"], *groups["val"]}
    groups["train"] = [g for g in _groups(table, np.ones(len(table), bool)) if g not in taken]
    return _rows(table, groups)


def _leave_one_patient_out(table: WindowTable, fold: int) -> Rows:
    patients = sorted(np.unique(table.patient).tolist())
    if len(patients) < 3:
        raise DataError(f"leaving one out needs 3 patients, task.source.patients gives {patients}")
    test = _pick(patients, fold, "patients")
    val = patients[(patients.index(test) + 1) % len(patients)]
    return {
        "test": np.flatnonzero(table.patient == test),
        "val": np.flatnonzero(table.patient == val),
        "train": np.flatnonzero((table.patient != test) & (table.patient != val)),
    }


def _kfold(table: WindowTable, fold: int, n_folds: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    dealt: list[list[str]] = [[] for _ in range(n_folds)]
    position = 0
    strata = np.char.add(np.char.add(table.patient, "/"), table.label.astype(str))
    for stratum in np.unique(strata):
        names = _groups(table, strata == stratum)
        for i in rng.permutation(len(names)):
            dealt[position % n_folds].append(names[i])
            position += 1
    test, val = _pick(list(range(n_folds)), fold, "folds"), (fold + 1) % n_folds
    train = [g for k, names in enumerate(dealt) if k not in (test, val) for g in names]
    return _rows(table, {"test": dealt[test], "val": dealt[val], "train": train})


def _pick(items: Sequence[_T], fold: int, what: str) -> _T:
    if not 0 <= fold < len(items):
        raise DataError(f"task.fold={fold}: there are {len(items)} {what}, 0 to {len(items) - 1}")
    return items[fold]


def thin(
    rows: NDArray[np.int64], quiet: NDArray[np.bool_], per_seizure: float, seed: int
) -> NDArray[np.int64]:
    """Return rows with at most `per_seizure` quiet windows for each other one, drawn by seed."""
    keep, spare = rows[~quiet[rows]], rows[quiet[rows]]
    count = min(len(spare), round(per_seizure * len(keep)))
    return np.sort(np.concatenate([keep, np.random.default_rng(seed).permutation(spare)[:count]]))
