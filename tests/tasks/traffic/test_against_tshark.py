"""Packets, bytes and flows of every capture in a folder must equal tshark's.

Runs where SNNEXP_CAPTURES names a folder of captures (such as tests/pcap of the nDPI sources) and
tshark is installed.
"""

import csv
import math
import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tasks.traffic.flows import read_flows

FOLDER = os.environ.get("SNNEXP_CAPTURES", "")
FILES = sorted(
    path
    for path in (Path(FOLDER).rglob("*") if FOLDER else ())
    if path.suffix.lower() in (".pcap", ".pcapng", ".cap")
)
FIELDS = (
    "frame.time_epoch frame.len frame.protocols ip.src ip.dst ip.len ipv6.src ipv6.dst ipv6.plen"
    " tcp.srcport tcp.dstport udp.srcport udp.dstport"
)

pytestmark = pytest.mark.skipif(
    not FILES or shutil.which("tshark") is None,
    reason="needs SNNEXP_CAPTURES=<folder of captures> and tshark",
)


# packets, IP bytes, seconds (first and last packet) of a flow
Told = tuple[int, int, float, float]


def told_by_tshark(path: Path) -> tuple[int, int, dict[str, Told]]:
    """Return packets, bytes on the wire, and the flows of the outer headers."""
    command = ["tshark", "-r", str(path), "-n", "-T", "fields", "-E", "occurrence=f"]
    for field in FIELDS.split():
        command += ["-e", field]
    for option in ("ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams"):
        command += ["-o", f"{option}:FALSE"]
    # a damaged capture makes tshark exit with an error after the packets before the damage
    result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    packets = wire = 0
    flows: dict[str, Told] = defaultdict(lambda: (0, 0, math.inf, -math.inf))
    for row in csv.reader(result.stdout.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        packets, wire = packets + 1, wire + int(row[1])
        flow = flow_of(dict(zip(FIELDS.split(), row, strict=True)))
        if flow is not None:
            name, size = flow
            count, total, first, last = flows[name]
            time = float(row[0])
            flows[name] = count + 1, total + size, min(first, time), max(last, time)
    return packets, wire, dict(flows)


def flow_of(row: dict[str, str]) -> tuple[str, int] | None:
    layers = row["frame.protocols"].split(":")
    outer = next((i for i, layer in enumerate(layers) if layer in ("ip", "ipv6")), None)
    if outer is None:
        return None
    version = layers[outer]
    inner = [layer for layer in layers[outer + 1 :] if not layer.startswith("ipv6.")]
    if not inner or inner[0] not in ("tcp", "udp"):
        return None
    ends = sorted((row[f"{version}.{way}"], row[f"{inner[0]}.{way}port"]) for way in ("src", "dst"))
    size = int(row["ip.len"]) if version == "ip" else int(row["ipv6.plen"]) + 40
    return f"{inner[0]} {ends}", size


def told_by_us(path: Path) -> tuple[int, int, dict[str, Told]]:
    read = read_flows(path)
    flows: dict[str, Told] = {}
    bounds = read.flows.first
    for f, name in enumerate(read.flows.names):
        protocol, ends = name.split(" ")
        # the two ends of `a:1-b:2`, brackets of IPv6 taken off
        pairs = sorted(
            tuple(end.replace("[", "").replace("]", "").rsplit(":", 1)) for end in ends.split("-")
        )
        low, high = bounds[f, 0], bounds[f + 1, 0]
        time, size = read.flows.time[low:high], read.flows.size[low:high]
        flows[f"{protocol} {pairs}"] = (len(time), int(size.sum()), time.min(), time.max())
    return read.packets, read.wire_bytes, flows


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_counts_equal_tsharks(path):
    packets, wire, flows = told_by_us(path)
    expected_packets, expected_wire, expected_flows = told_by_tshark(path)
    assert packets == expected_packets
    # tshark holds a length in 31 bits; a fuzzed record may claim more
    assert wire == expected_wire or wire >= 2**31
    assert {k: v[:2] for k, v in flows.items()} == {k: v[:2] for k, v in expected_flows.items()}
    for name, (_, _, first, last) in flows.items():
        # a fuzzed record may hold a stamp that is no time
        if expected_flows[name][2] >= 0:
            assert expected_flows[name][2:] == pytest.approx((first, last), abs=2e-6)
