"""How programs are timed and what memory they take: shared by the kernels' benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

Program = Callable[[], Any]

#: longest a round of all programs is repeated for, and the fewest and most rounds
SECONDS, LEAST, MOST = 6.0, 7, 400


def medians(
    programs: Mapping[str, Program],
    seconds: float = SECONDS,
    least: int = LEAST,
    turn: float = 0.0,
) -> dict[str, float]:
    """Return the median time of each program in ms; the programs take turns.

    As many rounds as fit into `seconds`, at least `least`, after two that are not counted. A turn
    is one call or, with `turn`, as many calls as fill that many seconds: what a call costs when
    the one before was the same program, and the caches hold its code and data.
    """
    times: dict[str, list[float]] = {name: [] for name in programs}
    calls = dict.fromkeys(programs, 1)
    begin, rounds = time.perf_counter(), -2
    while rounds < least or (rounds < MOST and time.perf_counter() - begin < seconds):
        for name, program in programs.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                program()
            spent = (time.perf_counter() - start) / calls[name]
            if rounds >= 0:
                times[name].append(spent)
            elif turn:
                calls[name] = max(1, round(turn / spent))
        rounds += 1
    return {name: 1e3 * statistics.median(spent) for name, spent in times.items()}


def peak_bytes(program: Program, inputs: int) -> int:
    """Return the most bytes that tensors hold during a call, with `inputs` held before it."""
    program()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        program()
    held = most = 0
    events = sorted(seen.profiler.kineto_results.events(), key=lambda e: e.start_ns())
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return inputs + most


def saved_bytes(program: Callable[[], Tensor]) -> int:
    """Return the bytes of memory that autograd keeps for the backward of a program."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = program()
    del output
    return sum(kept.values())


def copy_gbps(bytes_moved: int) -> float:
    """Return the rate of a copy into warm memory that reads and writes `bytes_moved` in all."""
    source = torch.zeros(bytes_moved // 2, dtype=torch.uint8)
    target = torch.zeros_like(source)
    ms = medians({"copy": lambda: target.copy_(source)}, seconds=1.0)["copy"]
    return bytes_moved / ms / 1e6
