"""Which windows train, validate and test: at random over windows, or with captures kept whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnexp.data.base import Split
from snnexp.data.splits import assign_groups, check_disjoint
from tasks.traffic.extract import Extracted
from tasks.traffic.labels import CLASSES

Shares = Mapping[Split, float]


def by_window(data: Extracted, shares: Shares, seed: int) -> dict[Split, np.ndarray]:
    """Deal single windows at random (the authors): windows of one flow fall on all sides."""
    each = [str(w) for w in range(len(data.windows))]
    dealt = assign_groups(each, shares, seed)
    return {split: np.array(members, np.int64) for split, members in dealt.items()}


def by_capture(
    data: Extracted, shares: Shares, seed: int
) -> tuple[dict[Split, np.ndarray], dict[str, str]]:
    """Deal whole captures, class by class; captures that share a flow stay together.

    A class of two captures has no validation windows, a class of one only trains; the second
    result names them. No flow and no capture stands in two splits (checked here).
    """
    group = np.array(linked_captures(data))[data.windows.flow]
    label = data.label
    parts: dict[Split, list[np.ndarray]] = {split: [] for split in shares}
    lacking: dict[str, str] = {}
    owner: dict[str, Split] = {}
    for k in np.unique(label):
        mine = np.flatnonzero(label == k)
        # a group that another class already placed (captures of two classes that share a flow)
        placed = np.array([group[w] in owner for w in mine])
        for split in shares:
            parts[split].append(mine[[owner.get(group[w]) == split for w in mine]])
        free = mine[~placed]
        wanted = _reduced(shares, len(np.unique(group[free])))
        if len(wanted) < len(shares) and not placed.any():
            lacking[f"splits of {CLASSES[k]}"] = f"{'+'.join(wanted)} only: too few captures"
        if wanted:
            for split, members in assign_groups(group[free].tolist(), wanted, seed).items():
                parts[split].append(free[members])
                owner.update({str(group[w]): split for w in free[members]})
    splits = {split: np.sort(np.concatenate(p)).astype(np.int64) for split, p in parts.items()}
    source, flow = np.array(data.flow_source), np.array(data.flow_names)
    for names, what in ((source, "captures"), (flow, "flows")):
        check_disjoint({s: names[data.windows.flow[w]].tolist() for s, w in splits.items()}, what)
    return splits, lacking


def _reduced(shares: Shares, groups: int) -> dict[Split, float]:
    """Return the shares of as many splits as there are groups: train, then test, then val."""
    order: Sequence[Split] = ("train", "test", "val")
    kept = [split for split in order if split in shares][:groups]
    total = sum(shares[split] for split in kept)
    return {split: shares[split] / total for split in kept}


def linked_captures(data: Extracted) -> list[str]:
    """Return for each flow the first capture that its capture is linked to by a shared flow."""
    parent = {source: source for source in data.flow_source}

    def root(source: str) -> str:
        while parent[source] != source:
            parent[source] = parent[parent[source]]
            source = parent[source]
        return source

    seen: dict[str, str] = {}
    for source, name in zip(data.flow_source, data.flow_names, strict=True):
        low, high = sorted((root(seen.setdefault(_ends(name), source)), root(source)))
        parent[high] = low
    return [root(source) for source in data.flow_source]


def _ends(name: str) -> str:
    """Return a flow's name without its direction: another capture may see the answer first."""
    protocol, _, ends = name.partition(" ")
    return f"{protocol} {' '.join(sorted(ends.rsplit('-', 1)))}"
