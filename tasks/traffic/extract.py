"""From files to windows: find, label, read and cut, many files at a time, each cached on its own.

Letters: N packets, W windows.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
from rich.progress import track

from snnexp.data.base import DataError
from snnexp.data.cache import MANIFEST, cached, digest
from tasks.traffic import capture, flowpic, flows, headers, windows
from tasks.traffic.flows import Flows, read_flows
from tasks.traffic.labels import CLASSES, IGNORE, LabelTable
from tasks.traffic.windows import WindowRule, Windows, cut

HOW_TO_GET = (
    "Ask UNB for ISCX VPN-nonVPN 2016 (https://www.unb.ca/cic/datasets/vpn.html) and ISCX"
    " Tor-nonTor 2016 (https://www.unb.ca/cic/datasets/tor.html), unpack the archives to"
    " <data_dir>/ISCX/<archive's name>/*.pcap, and give data=real data_dir=<data_dir>; or put"
    " FlowPic's CSV files (on request, github.com/talshapira/FlowPic) into"
    " <data_dir>/Classes_csv/<Category>/<Encryption>/*.csv and add task.source=flowpic"
)

Source = Literal["captures", "flowpic"]
OnFault = Literal["error", "skip"]

log = logging.getLogger(__name__)

CAPTURE_SUFFIXES = (".pcap", ".pcapng", ".cap")
DAMAGED = "captures damaged, read up to there"
#: starting a process costs more than reading this much
BYTES_A_PROCESS = 2**28
#: what the cached windows depend on besides the file and the rule
_CODE = (capture, flowpic, flows, headers, windows)


@dataclass(frozen=True)
class Item:
    """One file: its place, its path below the data folder, and its class."""

    file: Path
    name: str
    label: int


@dataclass(frozen=True)
class Extracted:
    """All windows: `windows.flow` counts over all files.

    By window, `label`, `flow_name` and `source` (the capture) are looked up through
    `flow_label`, `flow_names` and `flow_source` of the flow. `notes` count what was read, and what
    was left out and why.
    """

    windows: Windows
    flow_label: np.ndarray
    flow_names: tuple[str, ...]
    flow_source: tuple[str, ...]
    notes: dict[str, int | float | str]

    @property
    def label(self) -> np.ndarray:
        """Class of each window [W]."""
        return self.flow_label[self.windows.flow]


def find(
    folder: Path, source: Source, table: LabelTable, unlabelled: OnFault, notes: Counter[str]
) -> list[Item]:
    """Return the files below `folder` that have a class, sorted by name.

    Raises DataError where there are none, and where no rule matches one (`unlabelled` error).
    """
    suffixes = CAPTURE_SUFFIXES if source == "captures" else (".csv",)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    items: list[Item] = []
    for file in files:
        path = file.relative_to(folder)
        try:
            name = table.label(path)
        except KeyError as error:
            if unlabelled == "error":
                raise DataError(
                    f"no rule of {table.path} tells the class of {path}. Add a rule (task.labels),"
                    " remove the file, or leave such files out with task.unlabelled=skip"
                ) from error
            notes["files without a label rule"] += 1
            continue
        if name == IGNORE:
            notes["files of other categories"] += 1
        else:
            items.append(Item(file, path.as_posix(), CLASSES.index(name)))
    if not items:
        raise DataError(
            f"no {'/'.join(suffixes)} file of the {len(CLASSES)} classes below {folder}"
            f" ({len(files)} looked at; task.source={source}). {HOW_TO_GET}"
        )
    return items


def extract(
    items: Sequence[Item],
    rule: WindowRule,
    *,
    source: Source,
    bad_captures: OnFault,
    cache: Path,
    jobs: int,
    notes: Counter[str],
) -> Extracted:
    """Read and cut all files; what was done before is taken from the cache.

    Up to `jobs` processes (joblib's count) share the work, one for every 256 MB that are new.
    """
    keys = [_key(item, rule, source) for item in items]
    new = [not (cache / digest(key, _CODE) / MANIFEST).is_file() for key in keys]
    size = sum(item.file.stat().st_size for item, is_new in zip(items, new, strict=True) if is_new)
    processes = min(joblib.effective_n_jobs(jobs), 1 + size // BYTES_A_PROCESS)
    work = joblib.Parallel(n_jobs=processes, return_as="generator_unordered")(
        joblib.delayed(_one)(k, item, key, rule, source, cache)
        for k, (item, key) in enumerate(zip(items, keys, strict=True))
    )
    done: dict[int, Path] = {}
    for k, outcome in track(work, f"Reading {source}", total=len(items), disable=not any(new)):
        if isinstance(outcome, Path):
            done[k] = outcome
        elif bad_captures == "error":
            raise DataError(outcome)
        else:
            log.warning("skipped: %s", outcome)
            notes["unreadable files skipped"] += 1
    return _join([(items[k], done[k]) for k in sorted(done)], notes)


def windows_of(
    path: Path, rule: WindowRule, source: Source
) -> tuple[Windows, list[str], list[str]]:
    """Return the windows of one file, the name of each one's flow, and what was counted."""
    reader = _read_capture if source == "captures" else flowpic.read_rows
    whole, names, _, notes = _windows(path, rule, reader)
    return whole, [names[f] for f in whole.flow], [f"{k}: {n:,}" for k, n in notes.items() if n]


def _key(item: Item, rule: WindowRule, source: Source) -> dict[str, Any]:
    """Return what the windows of one file depend on; its content by size and time of change,
    since hashing tens of gigabytes would cost more than reading them.
    """
    stat = item.file.stat()
    return {
        "file": item.name,
        "bytes": stat.st_size,
        "changed": stat.st_mtime_ns,
        "source": source,
        **asdict(rule),
    }


def _one(
    k: int, item: Item, key: dict[str, Any], rule: WindowRule, source: Source, cache: Path
) -> tuple[int, Path | str]:
    """Return the folder of one file's windows, or the message of a DataError (joblib's processes
    would wrap the exception itself).
    """
    reader = _read_capture if source == "captures" else flowpic.read_rows
    try:
        build = _builder(item.file, rule, reader)
        return k, cached(cache, key, _CODE, build, f"windows of {item.name}")
    except DataError as error:
        return k, str(error)


Reader = Callable[[Path], Iterable[tuple[str, Flows, Mapping[str, int]]]]


def _read_capture(path: Path) -> Iterator[tuple[str, Flows, Mapping[str, int]]]:
    read = read_flows(path)
    counts = {
        "packets": read.packets,
        "bytes on the wire": read.wire_bytes,
        "captures without packets": int(not read.packets),
        DAMAGED: int(read.damage is not None),
    }
    dropped = {f"packets dropped: {reason}": n for reason, n in read.dropped.items()}
    yield "", read.flows, {**counts, **dropped}


def _builder(file: Path, rule: WindowRule, reader: Reader) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        whole, names, sources, notes = _windows(file, rule, reader)
        notes["files without a window"] += int(not len(whole))
        np.savez(
            folder / "windows.npz",
            time=whole.time,
            size=whole.size,
            bounds=whole.bounds,
            flow=whole.flow,
            start=whole.start,
        )
        text = json.dumps({"names": names, "sources": sources, "notes": notes})
        (folder / "flows.json").write_text(text)

    return build


def _windows(
    file: Path, rule: WindowRule, reader: Reader
) -> tuple[Windows, list[str], list[str], Counter[str]]:
    """Read and cut one file: its windows, the names and captures of their flows, counts."""
    notes: Counter[str] = Counter()
    parts: list[Windows] = []
    names: list[str] = []
    sources: list[str] = []
    for source, read, counts in reader(file):
        part, tally = cut(read, rule)
        notes.update(counts)
        notes["flows"] += len(read)
        notes["windows dropped: too few packets"] += tally.too_few_packets
        notes["windows dropped: too short"] += tally.too_short
        notes["windows dropped: beyond task.max_windows_per_flow"] += tally.beyond_limit
        used, numbers = np.unique(part.flow, return_inverse=True)
        parts.append(_moved(part, sum(len(p.time) for p in parts), numbers + len(names)))
        names += [read.names[f] for f in used]
        sources += [source] * len(used)
    return _concatenate(parts), names, sources, notes


def _moved(part: Windows, packets: int, flow: np.ndarray) -> Windows:
    """Return windows whose packets come behind `packets` others, with other flow numbers."""
    return Windows(part.time, part.size, part.bounds + packets, flow, part.start)


def _concatenate(parts: Sequence[Windows]) -> Windows:
    if not parts:
        none = np.zeros(0, np.int64)
        return Windows(none.astype(float), none.astype(np.int32), none.reshape(0, 2, 2), none,
                       none.astype(float))  # fmt: skip
    return Windows(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("time", "size", "bounds", "flow", "start")
        )
    )


def _join(done: Sequence[tuple[Item, Path]], notes: Counter[str]) -> Extracted:
    parts: list[Windows] = []
    labels: list[int] = []
    names: list[str] = []
    sources: list[str] = []
    packets = 0
    for item, folder in done:
        facts: dict[str, Any] = json.loads((folder / "flows.json").read_text())
        with np.load(folder / "windows.npz") as arrays:
            part = Windows(**arrays)
        parts.append(_moved(part, packets, part.flow + len(names)))
        packets += len(part.time)
        names += facts["names"]
        # FlowPic's rows name their capture, a capture file is its own
        sources += [source or item.name for source in facts["sources"]]
        labels += [item.label] * len(facts["names"])
        notes.update(facts["notes"])
        if facts["notes"].get(DAMAGED):
            log.warning("%s is damaged; the packets before the damage are used", item.file)
    shown: dict[str, int | float | str] = {k: v for k, v in sorted(notes.items()) if v}
    whole = _concatenate(parts)
    return Extracted(whole, np.array(labels, np.int64), tuple(names), tuple(sources), shown)
