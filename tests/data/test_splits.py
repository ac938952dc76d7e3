from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnexp.data.base import DataError, Split
from snnexp.data.splits import (
    BalancedSampler,
    assign_groups,
    check_disjoint,
    overlap,
    read_list,
)

SHARES: dict[Split, float] = {"train": 0.7, "val": 0.1, "test": 0.2}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=20, max_size=60), st.integers(0, 1000))
def test_groups_stay_whole_and_shares_are_met(sizes: list[int], seed: int) -> None:
    groups = [f"speaker{g}" for g, size in enumerate(sizes) for _ in range(size)]
    dealt = assign_groups(groups, SHARES, seed)
    assert sorted(i for rows in dealt.values() for i in rows) == list(range(len(groups)))
    check_disjoint({s: [groups[i] for i in rows] for s, rows in dealt.items()}, "speakers")
    for split, share in SHARES.items():
        assert abs(len(dealt[split]) - share * len(groups)) <= 2 * max(sizes)


def test_the_seed_decides() -> None:
    groups = [str(i) for i in range(50)]
    assert assign_groups(groups, SHARES, 0) == assign_groups(groups, SHARES, 0)
    assert assign_groups(groups, SHARES, 0) != assign_groups(groups, SHARES, 1)


def test_too_few_groups_and_bad_shares_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups cannot fill the 3 splits"):
        assign_groups(["a", "b", "a"], SHARES, 0)
    with pytest.raises(DataError, match="add up to 1"):
        assign_groups(list("abcd"), {"train": 0.5, "test": 0.6}, 0)


def test_a_leak_is_named() -> None:
    leaky: dict[Split, list[str]] = {"train": ["a", "b"], "val": ["c"], "test": ["b", "b"]}
    assert overlap(leaky) == {"b": ["train", "test"]}
    with pytest.raises(DataError, match=r"1 patients stand in more than one split \(b in train"):
        check_disjoint(leaky, "patients")


def test_a_list_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("yes/a.wav\r\n\n no/b.wav \n")
    assert read_list(tmp_path / "list.txt") == ["yes/a.wav", "no/b.wav"]


def test_a_missing_or_binary_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list\.txt is missing in .*official archive"):
        read_list(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"list\.txt cannot be read"):
        read_list(tmp_path / "list.txt")


def test_classes_are_drawn_equally_often() -> None:
    targets = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    draws = [i for _ in range(5) for i in BalancedSampler(targets, seed=0)]
    assert len(draws) == 5000
    shares = torch.bincount(targets[draws]) / len(draws)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_draws_depend_on_seed_and_epoch_only() -> None:
    targets = torch.tensor([0, 1] * 50)
    whole, resumed = BalancedSampler(targets, seed=3), BalancedSampler(targets, seed=3)
    epochs = [list(whole) for _ in range(3)]
    torch.rand(17)
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]
    assert epochs[0] != epochs[1]
    assert list(BalancedSampler(targets, seed=4)) != epochs[0]
