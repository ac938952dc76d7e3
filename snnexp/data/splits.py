"""Splits by group, checks that none leaks, and sampling that balances classes.

A group is whatever must not stand on two sides of a split: a speaker, a patient, a flow.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from snnexp.data.base import DataError, Split


def assign_groups(
    groups: Sequence[str], shares: Mapping[Split, float], seed: int
) -> dict[Split, list[int]]:
    """Deal whole groups to splits, so that each split gets about its share of the items.

    The groups are shuffled by `seed`; each goes to the split that lacks most of its share.
    Returns the item positions of each split in ascending order. Raises DataError where there are
    fewer groups than splits, or shares that do not add up to 1.
    """
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(names) < len(shares):
        raise DataError(f"{len(names)} groups cannot fill the {len(shares)} splits {list(shares)}")
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise DataError(f"shares {dict(shares)} must be positive and add up to 1")
    splits = list(shares)
    lacking = np.array([shares[s] * len(groups) for s in splits])
    wanted = lacking.copy()
    chosen = np.zeros(len(names), int)
    for g in np.random.default_rng(seed).permutation(len(names)):
        chosen[g] = int(np.argmax(lacking / wanted))
        lacking[chosen[g]] -= counts[g]
    return {s: np.flatnonzero(chosen[inverse] == k).tolist() for k, s in enumerate(splits)}


def overlap(groups: Mapping[Split, Iterable[Hashable]]) -> dict[Hashable, list[Split]]:
    """Return the groups that stand in more than one split, with those splits."""
    where: dict[Hashable, list[Split]] = {}
    for split, members in groups.items():
        for group in set(members):
            where.setdefault(group, []).append(split)
    return {group: splits for group, splits in where.items() if len(splits) > 1}


def check_disjoint(groups: Mapping[Split, Iterable[Hashable]], what: str) -> None:
    """Raise DataError, naming a few of them, where a group stands in more than one split."""
    shared = overlap(groups)
    if shared:
        few = ", ".join(f"{g} in {'+'.join(s)}" for g, s in list(shared.items())[:3])
        raise DataError(f"{len(shared)} {what} stand in more than one split ({few})")


def read_list(path: Path) -> list[str]:
    """Read a list of names, one a line. Raises DataError where the file is missing or not text."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{path.name} is missing in {path.parent}: it says which clips belong to which split. "
            "Copy it from the official archive"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


class BalancedSampler(WeightedRandomSampler):
    """Draw len(targets) items with replacement, each class equally often on average.

    The draws depend on the seed and the epoch alone, not on the process's random state: a run
    that resumes at epoch 5 draws what an uninterrupted one does. Lightning calls `set_epoch`;
    without that call each pass over the sampler is the next epoch.
    """

    def __init__(self, targets: Tensor, seed: int) -> None:
        counts = torch.bincount(targets)
        weights = 1.0 / counts[targets].double()
        self.seed, self.epoch = seed, 0
        self.draws = torch.Generator()
        super().__init__(weights.tolist(), len(targets), replacement=True, generator=self.draws)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.draws.manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        self.epoch += 1
        return super().__iter__()
