"""Folders of a machine do not leave it with a record; what is no folder stays."""

import pytest

from snnexp.report.places import command_line, error_line


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("DataError: /home/me/data/x.pcap is damaged", "DataError: .../x.pcap is damaged"),
        ("DataError: ~/data/x.pcap: no file", "DataError: .../x.pcap: no file"),
        ("OSError: no file: '/tmp/a b/c d.edf'", "OSError: no file: '.../c d.edf'"),
        ('"/mnt/my disk/" or (/srv/y.npy), /etc', '".../my disk/" or (.../y.npy), .../etc'),
        ("data_dir=/data/me was given", "data_dir=.../me was given"),
        ("test/acc fell to 1 / 2, see https://a.org/b/c", None),
        ("put them into <data_dir>/ISCX/<archive>/*.pcap or data/x", None),
        ("tasks/speech/README.md says how; s/MAC", None),
        ("Traceback:\n  File \"/home/me/a.py\", line 1\nValueError: no", "ValueError: no"),
        ("", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_absolute_paths_of_an_error_keep_their_last_name_alone(said, expected):
    assert error_line(said) == (said if expected is None else expected)


def test_absolute_paths_of_a_command_are_left_open():
    words = ["python", "-m", "snnexp", "data_dir=/home/me/data", "task.fold=range(2)", "/a/b.py"]
    assert command_line(words) == "python -m snnexp data_dir=... 'task.fold=range(2)' ..."
