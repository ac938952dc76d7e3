import numpy as np
import pytest
from scipy.io import savemat

from tasks.seizure.mat import check_mat

CONTENTS = {
    "struct": {"s": {"data": np.arange(6, dtype=np.int16).reshape(2, 3), "freq": 5.0}},
    "cells": {"names": np.array(["a", "bc"], dtype=object), "empty": np.zeros((0, 3))},
    "numbers": {"x": np.arange(5, dtype=np.uint8), "y": np.float32(2.0), "z": np.array([True])},
    "nested": {"s": {"inner": {"text": "hello"}, "list": np.array([1.0, "x"], dtype=object)}},
    "many": {"s": np.array([(1, 2), (3, 4)], dtype=[("a", "i4"), ("b", "f8")])},
}


def saved(tmp_path, content, compressed=False):
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    return (tmp_path / "a.mat").read_bytes()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", CONTENTS)
def test_whole_files_pass(tmp_path, kind, compressed):
    check_mat(saved(tmp_path, CONTENTS[kind], compressed))


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="complex"):
        check_mat(saved(tmp_path, {"x": np.array([1j, 2.0])}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ([2, 3], [2, 2**20], r"array of \(2, 1048576\) holds 6 numbers"),
        ([2, 3], [-2, -3], "without flags, dimensions or name"),
        ([14, 64], [14, 2**31 - 1], "does not fit into the file"),
        ([14, 64], [13, 64], "type 13 in place of an array"),
        ([3, 12], [11, 12], "data of a known type"),
        ([1, 1], [2, 1], "struct or cell array of 4 arrays holds 2"),
    ],
)
def test_sizes_that_do_not_fit_are_told(tmp_path, old, new, message):
    content = saved(tmp_path, CONTENTS["struct"])
    words = [np.array(pair, np.int32).tobytes() for pair in (old, new)]
    assert words[0] in content
    with pytest.raises(ValueError, match=message):
        check_mat(content.replace(*words, 1))


def test_damaged_compressed_data_are_told(tmp_path):
    content = bytearray(saved(tmp_path, CONTENTS["struct"], compressed=True))
    content[160] ^= 255
    with pytest.raises(ValueError, match="compressed"):
        check_mat(bytes(content))


def test_what_is_no_matlab_5_file_is_told():
    with pytest.raises(ValueError, match="no header"):
        check_mat(b"short")
