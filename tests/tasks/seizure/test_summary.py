import pytest

from snnexp.data.base import DataError
from tasks.seizure.summary import read_summary, write_summary

TEXT = """Data Sampling Rate: 256 Hz
*************************

Channels in EDF Files:
**********************
Channel 1: FP1-F7

File Name: chb01_02.edf
File Start Time: 12:42:57
File End Time: 13:42:57
Number of Seizures in File: 0

File Name: chb01_03.edf
File Start Time: 23:43:04
File End Time: 24:43:04
Number of Seizures in File: 1
Seizure Start Time: 2996 seconds
Seizure End Time: 3036 seconds

Channels changed:
Channel 1: FP1-F3

File Name: chb06_04.edf
Number of Seizures in File: 2
Seizure 1 Start Time: 327 seconds
Seizure 1 End Time: 347 seconds
Seizure 2 Start Time:  6211 seconds
Seizure 2 End Time: 6231 seconds
"""


def test_both_spellings_of_the_collection(tmp_path):
    path = tmp_path / "chb01-summary.txt"
    path.write_text(TEXT)
    assert read_summary(path) == {
        "chb01_02.edf": [],
        "chb01_03.edf": [(2996.0, 3036.0)],
        "chb06_04.edf": [(327.0, 347.0), (6211.0, 6231.0)],
    }


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "s.txt"
    seizures = {"a.edf": [], "b.edf": [(3.0, 9.5)], "c.edf": [(1.0, 2.0), (5.0, 8.0)]}
    write_summary(path, 256, ["G1-G2"], seizures)
    assert read_summary(path) == seizures


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("in File: 1", "in File: 2", "announces 2 seizures but lists 1"),
        ("Time: 3036", "Time: 2990", "line 18: seizure of chb01_03.edf ends at 2990 s, before"),
        ("Seizure End Time: 3036 seconds\n", "", "starts at 2996 s and never ends"),
        ("Seizure 2 End Time: 6231 seconds\n", "", "chb06_04.edf starts at 6211 s and never ends"),
        ("2996 seconds", "about 3000", "cannot read 'Seizure Start Time: about 3000'"),
        ("Seizure Start Time: 2996 seconds\n", "", "does not follow"),
        ("File Name: chb01_02.edf\n", "", "line 10: 'Number of Seizures in File: 0' does not f"),
        (TEXT, "a shopping list\n", "names no recording"),
    ],
)
def test_what_does_not_add_up_is_named(tmp_path, old, new, message):
    path = tmp_path / "chb01-summary.txt"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_summary(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_summary(tmp_path / "gone-summary.txt")
