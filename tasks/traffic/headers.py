"""Link, network and transport headers of many packets at once, to what a flow needs.

Only the outermost IP header counts: a tunnel is one flow, as an observer of the wire sees it.
Read from the standards: IEEE 802.1Q/802.1ad tags, RFC 2516 (PPPoE), RFC 3032 (MPLS), RFC 791, RFC
8200 (extension headers), RFC 4302 (AH), and tcpdump's list of link types.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tasks.traffic.capture import Chunk

#: why a packet belongs to no flow; position is the code in `Headers.reason`, 0 for none
REASONS = (
    "",
    "link type not known",
    "not IP",
    "header cut short or malformed",
    "IP fragment without ports",
    "neither TCP nor UDP",
)
UNKNOWN_LINK, NOT_IP, MALFORMED, FRAGMENT, OTHER_TRANSPORT = range(1, 6)

# kinds of link header, from libpcap's DLT and the files' LINKTYPE numbers
_ETHERNET, _RAW, _NULL, _SLL, _SLL2, _PPP, _PPPOE, _HDLC = range(1, 9)
_LINKS = {
    1: _ETHERNET,
    **dict.fromkeys((12, 14, 101, 228, 229), _RAW),
    **dict.fromkeys((0, 108), _NULL),
    113: _SLL,
    276: _SLL2,
    **dict.fromkeys((9, 50, 166), _PPP),
    51: _PPPOE,
    104: _HDLC,
}
LINK_KINDS = np.zeros(300, dtype=np.uint8)
for _number, _kind in _LINKS.items():
    LINK_KINDS[_number] = _kind

TCP, UDP = 6, 17


class Headers(NamedTuple):
    """What was decoded of N packets.

    `key` [N, 5] uint64 names the bidirectional flow: the lower endpoint's address (two words) and
    the higher's (two words), then IP version, protocol, lower port and higher port in one word.
    `forward` is whether the packet goes from the lower to the higher endpoint. `size` is the length
    of the IP datagram in bytes. All are zero where `reason` is not.
    """

    reason: np.ndarray
    key: np.ndarray
    forward: np.ndarray
    size: np.ndarray


def decode(chunk: Chunk) -> Headers:
    """Decode all packets of a chunk."""
    n = len(chunk)
    headers = Headers(
        reason=np.zeros(n, np.uint8),
        key=np.zeros((n, 5), np.uint64),
        forward=np.zeros(n, np.bool_),
        size=np.zeros(n, np.int32),
    )
    known = (chunk.link >= 0) & (chunk.link < len(LINK_KINDS))
    kinds = np.where(known, LINK_KINDS[np.where(known, chunk.link, 2)], 0)
    _decode(chunk.data, chunk.start, chunk.wire, kinds, *headers)
    return headers


@njit(cache=True)
def _u16(data, i):
    return (np.int64(data[i]) << 8) | np.int64(data[i + 1])


@njit(cache=True)
def _u64(data, i):
    word = np.uint64(0)
    for k in range(8):
        word = (word << np.uint64(8)) | np.uint64(data[i + k])
    return word


@njit(cache=True)
def _ip_of_ppp(data, i, end):
    """Return where the IP header starts behind a PPP protocol number at i, or -code."""
    if i + 2 <= end and data[i] == 0xFF and data[i + 1] == 0x03:
        i += 2
    if i + 2 > end:
        return -MALFORMED
    if data[i] in (0x21, 0x57):  # compressed protocol field
        return i + 1
    return i + 2 if _u16(data, i) in (0x0021, 0x0057) else -NOT_IP


@njit(cache=True)
def _ip_of_ethertype(data, i, end):
    """Return where the IP header starts behind an ethertype (or 802.3 length) at i, or -code."""
    for _ in range(16):
        if i + 2 > end:
            return -MALFORMED
        kind = _u16(data, i)
        if kind in (0x0800, 0x86DD):
            return i + 2
        if kind in (0x8100, 0x88A8, 0x9100, 0x9200):  # VLAN tags, stacked or not
            i += 4
        elif kind == 0x8864:  # PPPoE session
            return _ip_of_ppp(data, i + 8, end)
        elif kind in (0x8847, 0x8848):  # MPLS label stack; the last label has its bottom bit set
            i += 2
            while i + 4 <= end and not data[i + 2] & 1:
                i += 4
            i += 4
            if i >= end:
                return -MALFORMED
            return i if data[i] >> 4 in (4, 6) else -NOT_IP
        elif kind == 0x8903:  # Cisco FabricPath: a tag, then a whole Ethernet frame
            i += 16
        elif kind <= 1500 and i + 10 <= end and data[i + 2] == 0xAA and data[i + 3] == 0xAA:
            i += 8  # 802.2 LLC with SNAP: the ethertype comes behind it
        else:
            return -NOT_IP
    return -MALFORMED


@njit(cache=True)
def _ip_start(data, i, end, link):
    """Return where the IP header of the packet at i starts, or -code."""
    if link == _RAW:
        return i
    if link == _ETHERNET:
        return _ip_of_ethertype(data, i + 12, end)
    if link == _SLL:
        return _ip_of_ethertype(data, i + 14, end)
    if link == _SLL2:
        start = _ip_of_ethertype(data, i, end)
        return start + 18 if start == i + 2 else start
    if link == _PPP:
        if i + 2 <= end and data[i] in (0x0F, 0x8F) and data[i + 1] == 0x00:
            return _ip_of_ethertype(data, i + 2, end)  # Cisco HDLC under PPP's link type
        return _ip_of_ppp(data, i, end)
    if link == _PPPOE:
        return _ip_of_ppp(data, i + 6, end)
    if link == _HDLC:
        return _ip_of_ethertype(data, i + 2, end)
    if link == _NULL:  # an address family in the byte order of the capturing host
        if i + 4 > end:
            return -MALFORMED
        family = np.int64(data[i]) | np.int64(data[i + 3])
        return i + 4 if family in (2, 10, 24, 28, 30) else -NOT_IP
    return -UNKNOWN_LINK


@njit(cache=True)
def _transport(data, i, end, wire):
    """Return (where the ports are or -code, protocol, datagram length) of the IP header at i."""
    if i + 20 > end:
        return -MALFORMED, 0, 0
    version = data[i] >> 4
    if version == 4:
        length = (data[i] & 15) * 4
        total = _u16(data, i + 2)
        if total == 0:  # segmentation offload: the length lies outside what the field holds
            total = wire
        if length < 20 or total < length:
            return -MALFORMED, 0, 0
        if _u16(data, i + 6) & 0x1FFF:
            return -FRAGMENT, 0, 0
        return i + length, np.int64(data[i + 9]), total
    if version != 6 or i + 40 > end:
        return -MALFORMED, 0, 0
    total = _u16(data, i + 4) + 40
    if total == 40:  # jumbogram or segmentation offload
        total = wire
    following = np.int64(data[i + 6])
    i += 40
    for _ in range(16):
        if following not in (0, 43, 44, 51, 60, 135, 139, 140):
            return i, following, total
        if i + 8 > end:
            return -MALFORMED, 0, 0
        if following == 44 and _u16(data, i + 2) & 0xFFF8:
            return -FRAGMENT, 0, 0
        step = 8
        if following == 51:
            step = (int(data[i + 1]) + 2) * 4
        elif following != 44:
            step = (int(data[i + 1]) + 1) * 8
        following = np.int64(data[i])
        i += step
    return -MALFORMED, 0, 0


@njit(cache=True)
def _decode(data, start, wire, links, reason, key, forward, size):
    for n in range(len(wire)):
        end = start[n + 1]
        ip = _ip_start(data, start[n], end, links[n])
        if ip < 0:
            reason[n] = -ip
            continue
        at, protocol, total = _transport(data, ip, end, wire[n] - (ip - start[n]))
        if at >= 0 and protocol != TCP and protocol != UDP:
            at = -OTHER_TRANSPORT
        elif at >= 0 and at + 4 > end:
            at = -MALFORMED
        if at < 0:
            reason[n] = -at
            continue
        source_high, target_high = np.uint64(0), np.uint64(0)
        if data[ip] >> 4 == 4:
            both = _u64(data, ip + 12)
            source_low, target_low = both >> np.uint64(32), both & np.uint64(0xFFFFFFFF)
        else:
            source_high, source_low = _u64(data, ip + 8), _u64(data, ip + 16)
            target_high, target_low = _u64(data, ip + 24), _u64(data, ip + 32)
        source, target = _u16(data, at), _u16(data, at + 2)
        if source_high != target_high:
            onward = source_high < target_high
        elif source_low != target_low:
            onward = source_low < target_low
        else:
            onward = source <= target
        if not onward:
            source_high, target_high = target_high, source_high
            source_low, target_low = target_low, source_low
            source, target = target, source
        key[n, 0], key[n, 1] = source_high, source_low
        key[n, 2], key[n, 3] = target_high, target_low
        version_protocol = (np.int64(data[ip] >> 4) << 8) | protocol
        key[n, 4] = np.uint64((version_protocol << 32) | (source << 16) | target)
        forward[n] = onward
        size[n] = total
