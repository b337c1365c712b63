"""The structs of numbers in a .mat file of MATLAB 5 to 7. scipy's reader crashes on some damaged files; this one checks every size.

Source: MathWorks, MAT-File Format (level 5). A file is a header and elements. An element has a type and a size of 4 bytes each, then its
contents, filled up to 8 bytes; a small one has type and size in 2 bytes each, and its contents in the next 4. An array is an element
that holds elements: its class, its shape, its name, then its numbers or, of a struct, the names of its fields and an array for each.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

HEADER = 128  # bytes
ARRAY, COMPRESSED = 14, 15  # types of elements
STRUCT = 2  # a class of arrays
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Of elements that hold numbers."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Of arrays of numbers, which may be stored in a smaller type."""
COMPLEX = 0x0800

Order = Literal["little", "big"]


class DamagedFile(ValueError):
    """What is wrong with the contents of a file."""


@dataclass(frozen=True, kw_only=True)
class _Element:
    kind: int
    contents: memoryview


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array that is not decoded yet."""

    name: str
    kind: int  # its class
    is_complex: bool
    shape: tuple[int, ...]
    rest: tuple[_Element, ...]  # what follows its name
    order: Order

    def numbers(self) -> NDArray[Any]:
        """Its numbers, in its shape. Raises DamagedFile for an array of something else."""
        if self.kind not in CLASSES or self.is_complex or not self.rest or self.rest[0].kind not in TYPES:
            raise DamagedFile(f"{self.name or 'an array'} has no real numbers")
        stored = np.dtype(TYPES[self.rest[0].kind]).newbyteorder("<" if self.order == "little" else ">")
        contents = self.rest[0].contents
        if min(self.shape, default=0) < 0 or len(contents) != stored.itemsize * math.prod(self.shape):
            raise DamagedFile(f"an array of the shape {self.shape} has {len(contents)} bytes")
        found = np.frombuffer(contents, dtype=stored).astype(CLASSES[self.kind], copy=False)
        return found.reshape(self.shape, order="F")

    def fields(self) -> dict[str, Array]:
        """The fields of a single struct by name; empty for another array. Raises DamagedFile."""
        if self.kind != STRUCT or math.prod(self.shape) != 1:
            return {}
        if len(self.rest) < 2 or len(self.rest[0].contents) != 4:
            raise DamagedFile("a struct lacks the names of its fields")
        length = int.from_bytes(self.rest[0].contents, self.order)
        text, arrays = bytes(self.rest[1].contents), self.rest[2:]
        if length < 1 or len(text) % length or len(text) // length != len(arrays):
            raise DamagedFile("the names of the fields of a struct do not match them")
        names = [_text(text[at : at + length]) for at in range(0, len(text), length)]
        return {name: _array(element, self.order) for name, element in zip(names, arrays, strict=True)}


def read_arrays(data: bytes) -> list[Array]:
    """The arrays of a file, from its bytes. Raises DamagedFile."""
    mark = data[HEADER - 2 : HEADER]
    if mark not in (b"IM", b"MI"):
        raise DamagedFile("it has no header of MATLAB 5")
    order: Order = "little" if mark == b"IM" else "big"
    found = []
    for element in _elements(memoryview(data)[HEADER:], order):
        inner = [element]
        if element.kind == COMPRESSED:
            try:
                inner = [*_elements(memoryview(zlib.decompress(element.contents)), order)]
            except zlib.error as error:
                raise DamagedFile(str(error)) from None
        found += [_array(one, order) for one in inner if one.kind == ARRAY]
    return found


def _elements(data: memoryview, order: Order) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise DamagedFile("it ends too early")
        first = int.from_bytes(data[at : at + 4], order)
        kind, size, start = first & 0xFFFF, first >> 16, at + 4
        if size == 0:
            kind, size, start = first, int.from_bytes(data[at + 4 : at + 8], order), at + 8
        elif size > 4:
            raise DamagedFile("an element is damaged")
        if start + size > len(data):
            raise DamagedFile("it ends too early")
        yield _Element(kind=kind, contents=data[start : start + size])
        end = start + size
        at = end if kind == COMPRESSED else end + -end % 8 if start == at + 8 else at + 8


def _array(element: _Element, order: Order) -> Array:
    """An array from its element. Raises DamagedFile."""
    parts = [*_elements(element.contents, order)]
    if element.kind != ARRAY or len(parts) < 3 or len(parts[0].contents) != 8 or len(parts[1].contents) % 4:
        raise DamagedFile("an array is damaged")
    flags, shape = int.from_bytes(parts[0].contents[:4], order), bytes(parts[1].contents)
    return Array(
        name=_text(bytes(parts[2].contents)),
        kind=flags & 0xFF,
        is_complex=bool(flags & COMPLEX),
        shape=tuple(int.from_bytes(shape[at : at + 4], order, signed=True) for at in range(0, len(shape), 4)),
        rest=tuple(parts[3:]),
        order=order,
    )


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("ascii", "replace")
