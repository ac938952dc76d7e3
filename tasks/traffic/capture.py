"""Packets of a capture file (pcap or pcapng), in chunks, whatever its size.

Letters: N packets of a chunk.

The container formats are read by libpcap through `cypcap`: classic pcap of both byte orders with
micro- and nanosecond stamps, and pcapng. Of the readers measured on 198,000 packets (one core,
packets a second, classic / pcapng), only libpcap leaves room for decoding at 300,000 a second:
cypcap 2.4 / 2.3 million, pcapy-ng 1.6 / 1.5 million, scapy's raw reader 0.66 / 0.36 million, dpkt
0.59 / 0.34 million, python-pcapng - / 0.08 million (`python -m scripts.bench_traffic --readers`).
libpcap refuses a pcapng file whose interfaces differ in link type; whatever it cannot go on with in
a pcapng file is continued with `python-pcapng`, which is slow and complete.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cypcap
import numpy as np
import pcapng
from pcapng.blocks import BasePacketBlock
from pcapng.exceptions import PcapngException

from snnexp.data.base import DataError

#: bytes of each packet that are kept for decoding; headers that go on behind them count as cut
HEADER_BYTES = 256
#: small enough to stay in the processor's cache between reading and decoding
CHUNK_PACKETS = 16_384
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

#: what python-pcapng raises on damaged blocks, found by fuzzing (tests/tasks/traffic)
_BLOCK_ERRORS = (
    PcapngException,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    TypeError,
    RuntimeError,
    struct.error,
    MemoryError,
)


@dataclass(frozen=True)
class Chunk:
    """Some consecutive packets of a capture.

    `time` is in seconds since 1970, to the microsecond, `wire` the
    length on the wire, `link` the link type (libpcap's DLT or the file's LINKTYPE number). The
    first `HEADER_BYTES` bytes of packet i are `data[start[i]:start[i + 1]]`.
    """

    time: np.ndarray
    wire: np.ndarray
    link: np.ndarray
    data: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


class Capture:
    """A capture file; iterate over its chunks once.

    After that `damage` is None, or says why the file could not be read to its end (cut short in
    the last packet, a corrupt record): the packets before the damage were yielded.
    Raises DataError where the file is no capture at all.
    """

    def __init__(self, path: Path, chunk_packets: int = CHUNK_PACKETS) -> None:
        self.path, self.chunk_packets = path, chunk_packets
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Chunk]:
        with self._open() as pcap:
            done = yield from self._chunks(iter(pcap), cypcap.Error, int(pcap.datalink()))
        if self.damage is not None and self._is_pcapng():
            told, self.damage = self.damage, None
            rest = yield from self._chunks(islice(self._blocks(), done, None), _BLOCK_ERRORS)
            if rest == 0:
                self.damage = told

    def _open(self) -> cypcap.Pcap:
        try:
            # cypcap's float stamp is right at this precision only; libpcap rounds finer ones down
            return cypcap.open_offline(str(self.path), cypcap.TstampPrecision.MICRO)
        except cypcap.Error as error:
            raise DataError(
                f"{self.path} is not a readable capture: {_reason(error)}. Expected pcap or pcapng"
                " (compressed captures must be unpacked first). Remove the file from data_dir, or"
                " let such files be counted and skipped with task.bad_captures=skip"
            ) from error

    def _is_pcapng(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(4) == PCAPNG_MAGIC

    def _chunks(
        self,
        packets: Iterator[tuple[Any, bytes]],
        errors: type[Exception] | tuple[type[Exception], ...],
        link: int | None = None,
    ) -> Generator[Chunk, None, int]:
        """Yield chunks of (header, bytes) pairs up to their end or first error; return how many.

        Without `link` each header names its own link type.
        """
        done = 0
        while self.damage is None:
            times: list[float] = []
            wires: list[int] = []
            links: list[int] = []
            datas: list[bytes] = []
            try:
                for header, data in islice(packets, self.chunk_packets):
                    times.append(header.ts)
                    wires.append(header.len)
                    datas.append(data[:HEADER_BYTES])
                    if link is None:
                        links.append(header.link)
            except errors as error:
                self.damage = _reason(error)
            if not datas:
                break
            done += len(datas)
            yield _chunk(times, wires, datas, links if link is None else [link] * len(datas))
        return done

    def _blocks(self) -> Iterator[tuple[_Header, bytes]]:
        """Yield the packets of a pcapng file block by block."""
        with self.path.open("rb") as file:
            blocks = iter(pcapng.FileScanner(file))
            while True:
                with warnings.catch_warnings():
                    # python-pcapng warns of its own option tables
                    warnings.simplefilter("ignore", DeprecationWarning)
                    block = next(blocks, None)
                if block is None:
                    return
                if isinstance(block, BasePacketBlock):
                    # a simple packet block carries no stamp
                    time = float(getattr(block, "timestamp", 0.0))
                    link = block.interface.link_type
                    yield _Header(time, block.packet_len, link), block.packet_data


class _Header(NamedTuple):
    ts: float
    len: int
    link: int


def _chunk(times: list[float], wires: list[int], datas: list[bytes], links: list[int]) -> Chunk:
    start = np.zeros(len(datas) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, datas), np.int64, len(datas)), out=start[1:])
    return Chunk(
        time=np.array(times, dtype=np.float64),
        wire=np.array(wires, dtype=np.int64),
        link=np.array(links, dtype=np.int32),
        data=np.frombuffer(b"".join(datas), dtype=np.uint8),
        start=start,
    )


def _reason(error: BaseException) -> str:
    """Return the last argument of an exception: cypcap puts an error code before the message."""
    return str(error.args[-1]) if error.args else type(error).__name__
