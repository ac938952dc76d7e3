"""Events a second from arrays to frames, beside Tonic's ToFrame and SpikingJelly's integration.

    python -m scripts.bench_events                       # random events
    python -m scripts.bench_events --events 20000000
    python -m scripts.bench_events --record outputs/bench.csv

Everything runs on one core. Equality with each peer is checked first, on the very events that are
timed; a peer that differs ends the run. Peers that are not installed are named and left out
(pip install tonic spikingjelly). Times are the best of several repeats, in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from scripts.bench_record import Row, append, beside, origin, processor
from snnexp.data.events import Binning, Events, FrameFormat, Sensor, clean, stream_frames

FRAMES = 16
SENSORS = {"DVS128": Sensor(128, 128), "DAVIS346": Sensor(260, 346)}
RAW = FrameFormat(polarity="off_on", orientation="recorded", downsample=1)
#: events a chunk in the streaming rows
CHUNK = 1_000_000

Program = Callable[[], NDArray[Any]]


def random_events(n: int, sensor: Sensor) -> Events:
    """Draw events spread evenly over the sensor: the worst case for the cache of a processor."""
    rng = np.random.default_rng(0)
    return Events(
        rng.integers(0, sensor.width, n).astype(np.int16),
        rng.integers(0, sensor.height, n).astype(np.int16),
        np.sort(rng.integers(0, n, n)),
        rng.integers(0, 2, n).astype(np.uint8),
    )


def binning(by: str, remainder: str) -> Binning:
    """Return the rule of a row."""
    rules: dict[str, Any] = {"by": by, "remainder": remainder}
    return Binning(n_frames=FRAMES, window_us=None, **rules)


def ours(events: Events, sensor: Sensor, rule: Binning) -> NDArray[Any]:
    """Count frames from arrays that are known to be sound."""
    return RAW.count(events, rule.ranges(events.t), sensor)


def ours_checked(events: Events, sensor: Sensor, rule: Binning) -> NDArray[Any]:
    """Check times and places first, as the tasks do."""
    return ours(clean(events, sensor, "error", "bench")[0], sensor, rule)


def ours_streamed(events: Events, sensor: Sensor, rule: Binning) -> NDArray[Any]:
    """Count frames from chunks, as for recordings larger than memory."""
    edges = rule.ranges(events.t)
    chunks = (events.between(i, i + CHUNK) for i in range(0, len(events), CHUNK))
    return np.stack(list(stream_frames(chunks, *edges, RAW, sensor, on="number")))


def of_tonic(events: Events, sensor: Sensor, rule: Binning) -> Program:
    """Return Tonic's ToFrame on its own structured array."""
    transforms = import_module("tonic.transforms")
    table = np.empty(len(events), [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i2")])
    for name in "xytp":
        table[name] = getattr(events, name)
    option = {"number": "n_event_bins", "time": "n_time_bins"}[rule.by]
    size = (sensor.width, sensor.height, 2)
    return partial(transforms.ToFrame(sensor_size=size, **{option: FRAMES}), table)


def of_spikingjelly(events: Events, sensor: Sensor, rule: Binning) -> Program:
    """Return SpikingJelly's integration of a dictionary of arrays."""
    functions = import_module("spikingjelly.datasets.utils")
    table = {name: getattr(events, name) for name in "txyp"}
    integrate = functions.integrate_events_by_fixed_frames_number
    return partial(integrate, table, rule.by, FRAMES, sensor.height, sensor.width)


#: peer -> where it puts the events left over, and how to call it
PEERS: dict[str, tuple[str, Callable[[Events, Sensor, Binning], Program]]] = {
    "tonic": ("drop", of_tonic),
    "spikingjelly": ("last", of_spikingjelly),
}


def best(programs: dict[str, Program], repeats: int) -> dict[str, float]:
    """Return the shortest time of each program in seconds; the programs take turns."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            times[name].append(time.perf_counter() - start)
    return {name: min(spent) for name, spent in times.items()}


def compare(n: int, sensor: Sensor, by: str, repeats: int) -> dict[str, float]:
    """Return millions of events a second of ours and of each installed peer, once all agree."""
    events = random_events(n, sensor)
    programs: dict[str, Program] = {}
    for name, (remainder, make) in PEERS.items():
        if find_spec(name) is None:
            continue
        rule = binning(by, remainder)
        programs[name] = make(events, sensor, rule)
        theirs = np.asarray(programs[name]())
        for mine in (ours, ours_checked, ours_streamed):
            if not np.array_equal(theirs, mine(events, sensor, rule)):
                raise SystemExit(f"{mine.__name__} and {name} differ on {n:,} events by {by}")
    rule = binning(by, "last")
    programs["snnexp"] = partial(ours, events, sensor, rule)
    programs["snnexp, checked"] = partial(ours_checked, events, sensor, rule)
    programs["snnexp, streamed"] = partial(ours_streamed, events, sensor, rule)
    for program in programs.values():
        program()
    return {name: n / seconds / 1e6 for name, seconds in best(programs, repeats).items()}


def rows_of(rates: dict[str, float], what: str, n: int) -> list[Row]:
    """Turn millions of events a second into rows; ours is related to a peer, all others to ours."""
    ms = {name: n / rate / 1e3 for name, rate in rates.items()}
    return beside(what, n, FRAMES, "int16", ms, dict.fromkeys(ms, 1), package="numba")


def main() -> None:
    """Check equality, time, print, and append to a csv where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    console = Console()
    rows: list[Row] = []
    table = Table("camera", "by", "program", "million events/s", "ratio", "to")
    for camera, sensor in SENSORS.items():
        for by in ("number", "time"):
            console.print(f"{camera}, {FRAMES} frames by {by}: checking, then timing ...")
            rates = compare(options.events, sensor, by, options.repeats)
            made = rows_of(rates, f"events to frames by {by}, {camera}", options.events)
            for row, rate in zip(made, rates.values(), strict=True):
                ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
                table.add_row(camera, by, row.provider, f"{rate:.1f}", ratio, row.ratio_to)
            rows += made
    table.title = f"{options.events:,} events into {FRAMES} frames, one core of {processor()}"
    console.print(table)
    absent = [name for name in PEERS if find_spec(name) is None]
    if absent:
        console.print(f"not installed, left out: {', '.join(absent)}")
    if options.record is not None:
        append(options.record, rows, origin("scripts.bench_events"))


if __name__ == "__main__":
    main()
