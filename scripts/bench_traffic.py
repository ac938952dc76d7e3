"""Packets a second of the traffic task's reader beside dpkt and scapy, on the same captures.

    python -m scripts.bench_traffic                       # captures of the sample
    python -m scripts.bench_traffic --captures FOLDER     # your own
    python -m scripts.bench_traffic --readers             # the container readers alone

Every program turns the files into bidirectional flows (packets and IP bytes by 5-tuple) in one
process on one core; the flows must be equal before a rate is printed. Peers that are not installed
are named and left out (pip install dpkt scapy pcapy-ng).
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import cypcap
import numpy as np

from scripts.bench_record import append, beside, origin, version
from tasks.traffic.capture import Capture
from tasks.traffic.flows import read_flows
from tasks.traffic.sample import plans, write_one

FlowCounts = dict[str, tuple[int, int]]
Program = Callable[[Path], FlowCounts]
ETHERNET = 1


def ours(path: Path) -> FlowCounts:
    """Return the flows as the task reads them."""
    flows = read_flows(path).flows
    counts = {}
    for f, name in enumerate(flows.names):
        low, high = flows.first[f, 0], flows.first[f + 1, 0]
        protocol, ends = name.split(" ")
        first, second = ends.split("-")
        key = f"{protocol} {min(first, second)} {max(first, second)}"
        counts[key] = (int(high - low), int(flows.size[low:high].sum()))
    return counts


def _count(counts: FlowCounts, protocol: str, ends: Sequence[tuple[Any, int]], size: int) -> None:
    names = []
    for address, port in ends:
        ip = ipaddress.ip_address(address)
        names.append(f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}")
    key = f"{protocol} {min(names)} {max(names)}"
    packets, total = counts.get(key, (0, 0))
    counts[key] = (packets + 1, total + size)


def of_dpkt(path: Path) -> FlowCounts:
    """Return the flows with dpkt's reader and decoders."""
    dpkt = import_module("dpkt")
    raw: dict[tuple[Any, ...], list[int]] = {}
    with path.open("rb") as file:
        try:
            for _, data in dpkt.pcap.UniversalReader(file):
                ip = dpkt.ethernet.Ethernet(data).data
                if isinstance(ip, dpkt.ip.IP):
                    size = ip.len
                elif isinstance(ip, dpkt.ip6.IP6):
                    size = ip.plen + 40
                else:
                    continue
                if ip.p in (6, 17):
                    # the payload is cut, so its header is read where dpkt keeps it as bytes too
                    ports = _ports(ip.data)
                    key = (ip.p, ip.src, ports[0], ip.dst, ports[1])
                    entry = raw.setdefault(key, [0, 0])
                    entry[0] += 1
                    entry[1] += size
        except dpkt.NeedData:
            pass  # cut short in the last packet
    return _named(raw)


def _ports(transport: Any) -> tuple[int, int]:
    if isinstance(transport, bytes):
        return int.from_bytes(transport[:2], "big"), int.from_bytes(transport[2:4], "big")
    return transport.sport, transport.dport


def of_scapy(path: Path) -> FlowCounts:
    """Return the flows with scapy's reader and layers."""
    utils, layers = import_module("scapy.utils"), import_module("scapy.layers.all")
    raw: dict[tuple[Any, ...], list[int]] = {}
    for data, _ in utils.RawPcapReader(str(path)):
        packet = layers.Ether(data)
        ip = packet.getlayer(layers.IP) or packet.getlayer(layers.IPv6)
        if ip is None:
            continue
        version = 4 if ip.name == "IP" else 6
        transport = ip.payload
        if transport.name not in ("TCP", "UDP"):
            continue
        protocol = 6 if transport.name == "TCP" else 17
        size = ip.len if version == 4 else ip.plen + 40
        entry = raw.setdefault((protocol, ip.src, transport.sport, ip.dst, transport.dport), [0, 0])
        entry[0] += 1
        entry[1] += size
    return _named(raw)


def _named(raw: dict[tuple[Any, ...], list[int]]) -> FlowCounts:
    """Join the two directions of flows counted by (protocol, source, port, target, port)."""
    counts: FlowCounts = {}
    for (protocol, source, port, target, other), (packets, size) in raw.items():
        ends = [(source, port), (target, other)]
        one: FlowCounts = {}
        _count(one, "tcp" if protocol == 6 else "udp", ends, size)
        (key,) = one
        before = counts.get(key, (0, 0))
        counts[key] = (before[0] + packets, before[1] + size)
    return counts


def readers() -> dict[str, Callable[[Path], int]]:
    """Return container readers that count packets, without any decoding."""
    found: dict[str, Callable[[Path], int]] = {
        "cypcap (libpcap)": lambda path: sum(1 for _ in cypcap.open_offline(str(path))),
        "snnexp, in chunks": lambda path: sum(len(chunk) for chunk in Capture(path)),
    }
    if dpkt := _peer("dpkt"):
        found["dpkt"] = lambda path: sum(1 for _ in dpkt.pcap.UniversalReader(path.open("rb")))
    if _peer("scapy"):
        utils = import_module("scapy.utils")
        found["scapy, raw"] = lambda path: sum(1 for _ in utils.RawPcapReader(str(path)))
    return found


def _peer(name: str) -> ModuleType | None:
    if find_spec(name) is None:
        print(f"{name} is not installed and left out")
        return None
    return import_module(name)


def captures(folder: Path, wanted: int) -> list[Path]:
    """Write captures of the sample (Ethernet, undamaged) until there are `wanted` packets."""
    files, packets = [], 0
    for plan in plans(20)[::7]:
        path = folder / plan.path
        path.parent.mkdir(exist_ok=True)
        write_one(folder, plan)
        if usable(path):
            files.append(path)
            packets += read_flows(path).packets
        if packets >= wanted:
            break
    return files


def usable(path: Path) -> bool:
    """Return whether all programs can read a capture to its end."""
    capture = Capture(path)
    links = np.concatenate([chunk.link for chunk in capture] or [np.zeros(0)])
    return capture.damage is None and len(links) > 0 and bool((links == ETHERNET).all())


def timed(program: Callable[[Path], Any], files: Sequence[Path], repeats: int) -> float:
    """Return the best time in seconds for all files."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for path in files:
            program(path)
        best = min(best, time.perf_counter() - start)
    return best


def compare(files: Sequence[Path], repeats: int, record: Path | None) -> int:
    """Check that all programs find the same flows, then print (and record) their rates."""
    programs: dict[str, Program] = {"snnexp": ours}
    if _peer("dpkt"):
        programs["dpkt"] = of_dpkt
    if _peer("scapy"):
        programs["scapy"] = of_scapy
    packets = sum(read_flows(path).packets for path in files)
    for name, program in programs.items():
        for path in files:
            if program(path) != ours(path):
                print(f"{name} finds other flows than snnexp in {path}")
                return 1
    print(f"{len(files)} captures, {packets:,} packets: the same flows from {', '.join(programs)}")
    rates = {
        name: packets / timed(program, files, repeats if name != "scapy" else 1)
        for name, program in programs.items()
    }
    ms = {name: 1e3 * packets / rate for name, rate in rates.items()}
    for name, rate in rates.items():
        print(f"{version(name)} {rate:12,.0f} packets/s {rates['snnexp'] / rate:8.1f} x")
    rows = beside("captures to flows", packets, 1, "uint8", ms, dict.fromkeys(ms, 1))
    if record is not None:
        append(record, rows, origin("scripts.bench_traffic"))
    return 0


def main() -> int:
    """Run the benchmark; the exit code is 1 where the programs disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--captures", type=Path, help="folder of captures (default: the sample's)")
    parser.add_argument("--packets", type=int, default=100_000, help="of the sample's captures")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--readers", action="store_true", help="time the container readers alone")
    parser.add_argument("--record", type=Path, help="csv to append the rows to")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(
        f"{time.strftime('%Y-%m-%d')}, commit {commit or 'unknown'}, Python"
        f" {platform.python_version()}, numpy {np.__version__}, {platform.processor() or 'CPU'}"
        f" with {os.cpu_count()} cores, one used"
    )
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.captures:
            suffixes = (".pcap", ".pcapng", ".cap")
            found = sorted(p for p in arguments.captures.rglob("*") if p.suffix.lower() in suffixes)
            files = [path for path in found if usable(path)]
            print(f"{len(found) - len(files)} of {len(found)} captures are not plain Ethernet")
        else:
            files = captures(Path(temporary), arguments.packets)
        if not files:
            print("no capture to read")
            return 1
        if not arguments.readers:
            return compare(files, arguments.repeats, arguments.record)
        packets = sum(read_flows(path).packets for path in files)
        for name, reader in readers().items():
            print(
                f"{name:20s} {packets / timed(reader, files, arguments.repeats):12,.0f} packets/s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
