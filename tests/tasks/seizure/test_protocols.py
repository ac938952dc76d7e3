from dataclasses import replace

import numpy as np
import pytest

from snnexp.data.base import DataError
from snnexp.data.splits import overlap
from tasks.seizure.protocols import count_folds, groups_of, split_rows, thin
from tasks.seizure.windows import WindowTable

SOLTANI = {
    "train": {"ictal": [1, 20], "interictal": [1, 50]},
    "val": {"ictal": [21, 30], "interictal": [51, 70]},
    "test": {"ictal": [301, 327], "interictal": [701, 714]},
}


def one_patient(name: str, seizures: int, quiet: int, size: int = 3) -> WindowTable:
    units = [(f"{name}/s{k}", True) for k in range(seizures)]
    units += [(f"{name}/q{k}", False) for k in range(quiet)]
    group = np.repeat([u for u, _ in units], size)
    eventful = np.repeat([e for _, e in units], size)
    n = len(group)
    return WindowTable(
        patient=np.full(n, name),
        group=group,
        source=group,
        number=np.concatenate([np.arange(e.sum()) + 1 for e in (eventful, ~eventful)]),
        start=np.zeros(n),
        end=np.ones(n),
        label=eventful.astype(np.int64),
        eventful=eventful,
    )


TABLE = WindowTable.stack(
    [one_patient("P1", 5, 6), one_patient("P2", 4, 5), one_patient("P3", 3, 9)]
)


def split(protocol, table=TABLE, fold=0, seed=0, ranges=None, n_folds=5):
    return split_rows(protocol, table, fold=fold, n_folds=n_folds, split_seed=seed, ranges=ranges)


@pytest.mark.parametrize(
    ("protocol", "folds"),
    [("seizures", 1), ("leave_one_seizure_out", 12), ("leave_one_patient_out", 3), ("kfold", 5)],
)
def test_splits_are_disjoint_by_seizure_and_hold_both_classes(protocol, folds):
    for fold in range(folds):
        rows = split(protocol, fold=fold)
        assert overlap(groups_of(TABLE, rows)) == {}
        together = np.sort(np.concatenate(list(rows.values())))
        assert np.array_equal(together, np.arange(len(TABLE)))
        assert all(len(np.unique(TABLE.label[r])) == 2 for r in rows.values())


@pytest.mark.parametrize(
    ("protocol", "folds"),
    [("leave_one_seizure_out", 12), ("leave_one_patient_out", 3), ("kfold", 7)],
)
def test_there_are_as_many_folds_as_are_counted(protocol, folds):
    assert count_folds(protocol, TABLE, 7) == folds
    split(protocol, fold=folds - 1, n_folds=7)
    with pytest.raises(DataError, match=f"fold={folds}: there are {folds}"):
        split(protocol, fold=folds, n_folds=7)


@pytest.mark.parametrize("protocol", ["seizures", "ranges"])
def test_a_single_split_has_no_folds(protocol):
    assert count_folds(protocol, TABLE, 7) is None


def test_splitting_by_seizure_serves_every_patient_and_the_seed():
    rows = split("seizures")
    for r in rows.values():
        assert set(TABLE.patient[r]) == {"P1", "P2", "P3"}
    assert all(np.array_equal(rows[s], split("seizures")[s]) for s in rows)
    assert any(not np.array_equal(rows["test"], split("seizures", seed=k)["test"]) for k in (1, 2))


def test_each_seizure_is_left_out_once():
    held = []
    for fold in range(12):
        rows = split("leave_one_seizure_out", fold=fold)
        test = TABLE.take(rows["test"])
        assert len(set(test.patient)) == 1
        (seizure,) = np.unique(test.group[test.eventful])
        held.append(seizure)
        assert set(TABLE.patient[rows["val"]]) == set(test.patient)
    assert sorted(held) == sorted(np.unique(TABLE.group[TABLE.eventful]))
    with pytest.raises(DataError, match=r"task.fold=12: there are 12 seizures, 0 to 11"):
        split("leave_one_seizure_out", fold=12)


def test_each_quiet_stretch_is_left_out_once_a_patient():
    held = [
        g
        for fold in range(12)
        for g in np.unique(TABLE.group[split("leave_one_seizure_out", fold=fold)["test"]])
        if "/q" in g
    ]
    assert sorted(held) == sorted(np.unique(TABLE.group[~TABLE.eventful]))


def test_each_patient_is_left_out_once():
    held = []
    for fold in range(3):
        rows = split("leave_one_patient_out", fold=fold)
        patients = {s: set(TABLE.patient[r]) for s, r in rows.items()}
        assert not patients["test"] & (patients["train"] | patients["val"])
        held += patients["test"]
    assert sorted(held) == ["P1", "P2", "P3"]


def test_folds_test_each_group_once_and_keep_classes_even():
    tested = [np.unique(TABLE.group[split("kfold", fold=k)["test"]]).tolist() for k in range(5)]
    assert sorted(g for groups in tested for g in groups) == sorted(np.unique(TABLE.group))
    assert {len(t) for t in tested} <= {5, 6, 7}


def authors_table() -> WindowTable:
    ictal, quiet = one_patient("Patient_3", 109, 0), one_patient("Patient_3", 0, 240)
    return WindowTable.stack([ictal, quiet])


def test_the_authors_ranges():
    # section 2.3 of the facts: 70, 30 and 41 clips
    table = authors_table()
    rows = split("ranges", table, ranges=SOLTANI)
    counts = {s: np.bincount(table.label[r]).tolist() for s, r in rows.items()}
    assert counts == {"train": [50, 20], "val": [20, 10], "test": [14, 27]}
    assert set(table.number[rows["test"]][table.label[rows["test"]] == 1]) == set(range(301, 328))


def test_ranges_that_do_not_fit_are_named():
    with pytest.raises(DataError, match=r"1-50 of P, but 20 are not there \(first: 31\)"):
        split("ranges", one_patient("P", 109, 10), ranges=SOLTANI)
    with pytest.raises(DataError, match="one patient's clips"):
        split("ranges", ranges=SOLTANI)
    with pytest.raises(DataError, match=r"needs task\.ranges"):
        split("ranges")


def test_too_few_seizures_or_patients_are_named():
    few = one_patient("P", 2, 5)
    with pytest.raises(DataError, match="patient P has 2 units with seizures"):
        split("seizures", few)
    with pytest.raises(DataError, match="patient P has 2 units"):
        split("leave_one_seizure_out", few)
    with pytest.raises(DataError, match="needs 3 patients"):
        split("leave_one_patient_out", few)


def test_thinning_keeps_all_seizures():
    rows = np.arange(len(TABLE))
    kept = thin(rows, TABLE.label == 0, 0.5, 0)
    counts = np.bincount(TABLE.label[kept])
    assert counts.tolist() == [18, 36]
    assert np.array_equal(kept, thin(rows, TABLE.label == 0, 0.5, 0))
    assert np.array_equal(thin(rows, TABLE.label == 0, 9.0, 0), rows)


def test_a_leak_is_caught():
    leaky = replace(TABLE, group=np.full(len(TABLE), "all"))
    with pytest.raises(DataError, match="more than one split"):
        split("leave_one_patient_out", leaky)
