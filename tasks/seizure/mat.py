"""A check of MATLAB 5 files before scipy reads them: damage must end in an error, not a crash.

`scipy.io.loadmat` takes a file's sizes on trust. A damaged dimension keeps it busy for hours, a
damaged flag can end the process. Layout: "MAT-File Format", The MathWorks, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

#: bytes of a number of each storage type: miINT8 = 1 ... miUTF32 = 18
_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)  # mxDOUBLE_CLASS ... mxUINT64_CLASS
_COMPLEX = 1 << 11

# type, first byte and end of an element's data
Element = tuple[int, int, int]


def check_mat(content: bytes) -> None:
    """Raise ValueError where the elements of a MATLAB 5 file do not fit into each other.

    Numbers, text, cells and structs are checked; arrays of other classes are passed over.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("no header of a MATLAB 5 file")
    for kind, begin, end in _elements(content, 128, len(content), order):
        if kind == _COMPRESSED:
            try:
                inner = zlib.decompress(content[begin:end])
            except zlib.error as error:
                raise ValueError(f"damaged compressed data ({error})") from error
            for kind_inside, first, last in _elements(inner, 0, len(inner), order):
                _check(kind_inside, inner, first, last, order)
        else:
            _check(kind, content, begin, end, order)


def _elements(data: bytes, at: int, end: int, order: str) -> Iterator[Element]:
    """Walk over the elements between two bytes; each must end before the second."""
    while at < end:
        if end - at < 8:
            raise ValueError(f"{end - at} bytes are left over")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        begin, following = at + 8, at + 8 + size + -size % 8
        if kind >> 16:  # up to four bytes within the tag
            kind, size, begin, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError(f"{size} bytes in a tag of four")
        if begin + size > end:
            raise ValueError(f"an element of {size} bytes does not fit into the file")
        yield kind, begin, begin + size
        at = begin + size if kind == _COMPRESSED else following


def _check(kind: int, data: bytes, begin: int, end: int, order: str) -> None:
    """Check one array and all arrays in it."""
    if kind != _MATRIX:
        raise ValueError(f"an element of type {kind} in place of an array")
    if begin == end:
        return
    parts = _elements(data, begin, end, order)
    flags = _numbers(next(parts, None), data, order, _UINT32)
    shape = _numbers(next(parts, None), data, order, _INT32)
    name = next(parts, None)
    if len(flags) != 2 or len(shape) < 2 or min(shape) < 0 or not name or name[0] != _INT8:
        raise ValueError("an array without flags, dimensions or name")
    family, count = flags[0] & 0xFF, math.prod(shape)
    if family in _NUMBERS:
        if flags[0] & _COMPLEX:
            raise ValueError("complex numbers")
        _, stored = _values(next(parts, None))
        if stored != count:
            raise ValueError(f"an array of {shape} holds {stored:g} numbers")
    elif family == _CHAR:
        _values(next(parts, None))
    elif family in (_CELL, _STRUCT):
        if family == _STRUCT:
            count *= _fields(next(parts, None), next(parts, None), data, order)
        held = 0
        for kind_inside, first, last in parts:
            _check(kind_inside, data, first, last, order)
            held += 1
        if held != count:
            raise ValueError(f"a struct or cell array of {count} arrays holds {held}")


def _fields(length: Element | None, names: Element | None, data: bytes, order: str) -> int:
    """Return how many fields a struct has."""
    width = _numbers(length, data, order, _INT32)
    if len(width) != 1 or width[0] < 1 or not names or (names[2] - names[1]) % width[0]:
        raise ValueError("a struct without the names of its fields")
    return (names[2] - names[1]) // width[0]


def _numbers(element: Element | None, data: bytes, order: str, wanted: int) -> tuple[int, ...]:
    """Return the 32-bit integers of an element; none where it is of another type or size."""
    if element is None or element[0] != wanted or (element[2] - element[1]) % 4:
        return ()
    code = "i" if wanted == _INT32 else "I"
    return struct.unpack_from(f"{order}{(element[2] - element[1]) // 4}{code}", data, element[1])


def _values(element: Element | None) -> tuple[int, float]:
    """Return type and number of the values of an array's data."""
    if element is None or element[0] not in _BYTES:
        raise ValueError("an array without data of a known type")
    return element[0], (element[2] - element[1]) / _BYTES[element[0]]
