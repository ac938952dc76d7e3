"""Which depth maps train, validate and test: splits 1, 2 and 3 of MVSEC's indoor flights.

Split k tests on flight k and trains on the other two of 1, 2, 3. Two rules for the ranges of depth
maps that leave out take-off and landing, numbered as in the files:

    tulyakov  the ranges of Tulyakov et al. 2019
    authors   those of StereoSpike's code: a crop of each flight, of which the first
              1 + (windows an input holds) maps are no targets (its warm-up)

`whole` takes all maps: a sample recording has no take-off.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from snnexp.data.base import DataError

SplitNumber = Literal[1, 2, 3]
RangeRule = Literal["authors", "tulyakov"]

#: split -> flight -> (first, stop) as in a Python slice
AUTHORS: dict[int, dict[int, tuple[int, int]]] = {
    1: {1: (139, 1201), 2: (159, 1581), 3: (124, 1816)},
    2: {2: (119, 1421), 1: (79, 1261), 3: (124, 1816)},
    3: {3: (72, 1816), 1: (79, 1261), 2: (119, 1581)},
}
#: in split 3 the authors' index lists stop at this map, before their crop does
AUTHORS_LAST = {3: 1615}
TULYAKOV: dict[int, dict[int, tuple[int, int]]] = {
    1: {1: (140, 1201), 2: (160, 1580), 3: (125, 1815)},
    2: {2: (120, 1421), 1: (80, 1260), 3: (125, 1815)},
    3: {3: (73, 1616), 1: (80, 1260), 2: (160, 1580)},
}


@dataclass(frozen=True)
class Span:
    """Targets `first` to `stop` - 1 of a flight; `crop` is the first map of its crop."""

    flight: int
    crop: int
    first: int
    stop: int


def spans(
    split: int, rule: RangeRule | Literal["whole"], windows: int, maps: dict[int, int]
) -> list[Span]:
    """Return the spans of a split, the test flight first; `maps` counts the maps of each flight."""
    order = [split, *(k for k in (1, 2, 3) if k != split)]
    if rule == "whole":
        return [Span(k, 0, 0, maps[k]) for k in order]
    table = AUTHORS if rule == "authors" else TULYAKOV
    found = []
    for k in order:
        crop, stop = table[split][k]
        first = crop + 1 + windows if rule == "authors" else crop
        if rule == "authors" and k == split and split in AUTHORS_LAST:
            stop = AUTHORS_LAST[split] + 1
        if stop > maps[k]:
            raise DataError(
                f"indoor_flying{k}_gt.hdf5 has {maps[k]} depth maps; split {split} takes maps "
                f"{first} to {stop - 1}. Fetch the file again: it is not complete"
            )
        found.append(Span(k, crop, first, stop))
    return found


def shuffled_validation(n: int, n_val: int) -> set[int]:
    """Return which of n test targets validate: the first of a shuffle with seed 0.

    Tulyakov et al. and StereoSpike take 200. The lists printed in StereoSpike's code are another
    draw of the same kind.
    """
    if n_val >= n:
        raise DataError(
            f"task.val_frames={n_val} of the {n} targets of the test flight leaves none to test"
        )
    order = list(range(n))
    random.Random(0).shuffle(order)
    return set(order[:n_val])
