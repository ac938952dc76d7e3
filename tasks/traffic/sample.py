"""The sample: captures of simulated hosts, written in the official layout and names of ISCX.

Each capture is one host running one application in one form (plain, VPN, Tor), a few flows one
after the other, with some name look-ups, pings and ARP between them. Hosts differ in access, MTU,
tunnel and codec (`laws.Host`), so that two windows of one flow are far more alike than two flows
of a class: a split of windows leaks what a split of captures does not.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from tasks.traffic import wire
from tasks.traffic.laws import Host, Packets, draw_host, flow_packets

#: raise with every change of what is written, so that old caches are not read
VERSION = 2
SEED = 2016
FLOWS = 2
#: name look-ups, encrypted
LOOK_UP_PORT = 853

#: folder and file names by class, after those of ISCX VPN-nonVPN 2016 and Tor 2016
NAMES: dict[tuple[str, str], tuple[str, ...]] = {
    ("Video", "nonVPN"): ("youtube{}", "vimeo{}", "netflix{}"),
    ("Video", "Tor"): ("VIDEO_Youtube_HTML5_Gateway{}", "VIDEO_Vimeo_Gateway{}"),
    ("Video", "VPN"): ("vpn_youtube_{}", "vpn_vimeo_{}", "vpn_netflix_{}"),
    ("VOIP", "nonVPN"): ("skype_audio{}", "hangouts_audio{}", "voipbuster{}"),
    ("VOIP", "Tor"): ("VOIP_Skype_Voice_Gateway{}", "VOIP_gate_facebook_Audio{}"),
    ("VOIP", "VPN"): ("vpn_skype_audio{}", "vpn_hangouts_audio{}", "vpn_voipbuster{}"),
    ("FileTransfer", "nonVPN"): ("ftps_down_{}", "scpUp{}", "skype_file{}"),
    ("FileTransfer", "Tor"): ("FILE-TRANSFER_gate_SFTP_filetransfer{}",),
    ("FileTransfer", "VPN"): ("vpn_ftps_{}", "vpn_sftp_{}", "vpn_skype_files{}"),
    ("Chat", "nonVPN"): ("facebookchat{}", "icq_chat_{}", "hangouts_chat_{}"),
    ("Chat", "Tor"): ("CHAT_facebookchatgateway{}", "CHAT_gate_ICQ_chat{}"),
    ("Chat", "VPN"): ("vpn_facebook_chat{}", "vpn_icq_chat{}", "vpn_skype_chat{}"),
    ("Browsing", "nonVPN"): ("browsing{}", "SSL_Browsing{}"),
    ("Browsing", "Tor"): ("BROWSING_tor_browsing_{}", "BROWSING_gate_SSL_Browsing{}"),
}
FOLDERS = {"nonVPN": "NonVPN-PCAPs-01", "VPN": "VPN-PCAPS-01", "Tor": "Tor"}


@dataclass(frozen=True)
class Plan:
    """One capture to write."""

    path: str
    category: str
    encryption: str
    number: int


def plans(captures: int) -> list[Plan]:
    """Return `captures` captures of each class."""
    result = []
    for (category, encryption), names in NAMES.items():
        for i in range(captures):
            # mixed case, and pcapng under the name of pcap, as in the published files
            suffix = (".pcap", ".pcap", ".pcapng", ".PCAP", ".pcap")[i % 5]
            name = names[i % len(names)].format(i // len(names) + 1)
            path = f"{FOLDERS[encryption]}/{name}{suffix}"
            result.append(Plan(path, category, encryption, i))
    return result


def write_sample(folder: Path, captures: int) -> None:
    """Write the sample below `folder`; the same bytes each time."""
    for plan in track(plans(captures), "Writing sample captures"):
        (folder / plan.path).parent.mkdir(exist_ok=True)
        write_one(folder, plan)


def write_one(folder: Path, plan: Plan) -> None:
    """Write one capture."""
    seed = zlib.crc32(f"{SEED} {VERSION} {plan.path}".encode())
    rng = np.random.default_rng(seed)
    host = draw_host(rng)
    form = _form(rng, host, plan)
    opening = 0.0
    parts: list[Columns] = []
    ends: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(FLOWS):
        seconds = float(rng.uniform(80, 125))
        transport, packets = flow_packets(rng, host, plan.category, plan.encryption, seconds)
        service = {"nonVPN": (443, 3478), "VPN": (1194, 1194), "Tor": (9001, 9001)}
        parts.append(_frames(rng, packets, opening, len(parts), transport == "tcp"))
        ends.append(_ends(rng, form.version, service[plan.encryption][transport == "udp"], ends))
        opening += seconds * float(rng.uniform(0.4, 0.9))
    background = [(wire.UDP, LOOK_UP_PORT, 30), (wire.ICMP, 0, 20)]
    if form.link != wire.RAW and form.version == 4:
        background.append((wire.ARP, 0, 10))
    for protocol, port, pieces in background:
        parts.append(_background(rng, opening + 100, len(parts), protocol, pieces))
        ends.append(_ends(rng, form.version, port, ends))
    columns = [np.concatenate(c) for c in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    begin = int((1_430_000_000 + rng.integers(10_000_000)) * 1_000_000_000)
    frames = wire.Frames(begin + columns[0][order], *(c[order] for c in columns[1:]))
    endpoints = wire.Endpoints(np.stack([a for a, _ in ends]), np.stack([p for _, p in ends]))
    cut = 23 if plan.number == 6 and plan.category == "Chat" else 0
    wire.write_capture(folder / plan.path, frames, endpoints, form, seed, cut)


def _form(rng: np.random.Generator, host: Host, plan: Plan) -> wire.Form:
    """Draw how the capture is written; all that the reader must cope with turns up."""
    link = wire.ETHERNET
    if plan.encryption == "VPN" and plan.number % 3 == 1:
        link = wire.RAW
    elif plan.number % 5 == 4:
        link = wire.COOKED
    return wire.Form(
        version=6 if plan.encryption == "nonVPN" and plan.number % 4 == 3 else 4,
        link=link,
        vlan=int(rng.integers(2, 4000)) if plan.number % 7 == 5 else 0,
        options=host.options,
        snap=96,
        pcapng=plan.number % 5 in (2, 4),
        nanoseconds=plan.number % 6 == 1,
    )


Columns = tuple[np.ndarray, ...]


def _frames(
    rng: np.random.Generator, packets: Packets, opening: float, flow: int, tcp: bool
) -> Columns:
    """Return the columns of `wire.Frames` for a flow that opens `opening` seconds in."""
    n = len(packets.time)
    stamps = np.round((opening + packets.time) * 1e9).astype(np.int64)
    # SYN and FIN count as one byte
    sent = packets.payload + (packets.flags & 0x02 > 0) + (packets.flags & 0x01 > 0)
    offset = rng.integers(0, 2**31, 2)
    done = np.stack([np.cumsum(np.where(packets.up == way, sent, 0)) for way in (True, False)])
    mine = np.where(packets.up, 0, 1)
    sequence = offset[mine] + done[mine, np.arange(n)] - sent
    acknowledged = offset[1 - mine] + done[1 - mine, np.arange(n)]
    acknowledged = np.where(packets.flags & 0x10, acknowledged, 0)
    return (
        stamps,
        np.full(n, flow),
        packets.up,
        np.full(n, wire.TCP if tcp else wire.UDP),
        packets.payload,
        packets.flags,
        sequence & 0xFFFFFFFF,
        acknowledged & 0xFFFFFFFF,
    )


def _background(
    rng: np.random.Generator, seconds: float, flow: int, protocol: int, pieces: int
) -> Columns:
    """Return the columns of frames of little packets strewn over the capture."""
    stamps = np.sort(rng.integers(0, int(seconds * 1e9), pieces))
    zero = np.zeros(pieces, np.int64)
    up = np.arange(pieces) % 2 == 0
    payload = zero if protocol == wire.ARP else rng.integers(30, 120, pieces)
    return stamps, zero + flow, up, zero + protocol, payload, zero, zero, zero


def _ends(
    rng: np.random.Generator, version: int, port: int, known: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return addresses [2, 16] and ports [2] of a new flow; the host keeps its address."""
    address = np.zeros((2, 16), np.uint8)
    if version == 4:
        address[0, :4] = (10, *rng.integers(1, 255, 3))
        address[1, :4] = (int(rng.choice([23, 31, 64, 104, 151, 185])), *rng.integers(1, 255, 3))
    else:
        address[:, :4] = (0x20, 0x01, 0x0D, 0xB8)
        address[:, 4:] = rng.integers(0, 256, (2, 12))
    if known:
        address[0] = known[0][0][0]
    return address, np.array([rng.integers(32_768, 61_000) if port else 0, port])
