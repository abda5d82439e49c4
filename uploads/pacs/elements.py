"""The elements of a small data set from a peer, one by one and without recursion: no length is simply believed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from uploads.pacs import pdu

MOST_DEPTH = 8
MOST_ELEMENTS = 200_000
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG_FORMS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
TAG = struct.Struct("<HH")
LONG, SHORT = struct.Struct("<I"), struct.Struct("<H")

Path = tuple[int, ...]
"""The sequences, and the items in them, that an element lies in: from the outermost to the innermost tag."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element; an item's end is told as one too (tag ITEM_END), so that what it held can be put together."""

    path: Path
    tag: int
    value: bytes


@dataclass(frozen=True, slots=True)
class _Level:
    tag: int
    end: int | None
    """None: a delimiter ends it (PS3.5 7.5)."""
    implicit: bool


def elements(octets: bytes, *, implicit: bool, sequences: frozenset[int]) -> Iterator[Element]:
    """Every element of a little endian data set (PS3.5 7.1); AssociationAborted where its lengths do not add up.

    In implicit VR nothing says which elements are sequences, so those that matter are named in `sequences`; of the
    others what has a length is stepped over.
    """
    reader = _Reader(octets, implicit, sequences)
    for _ in range(MOST_ELEMENTS):
        found = reader.step()
        if found is None:
            return
        if found.tag:
            yield found
    raise pdu.garbled("data set of too many elements")


class _Reader:
    def __init__(self, octets: bytes, implicit: bool, sequences: frozenset[int]) -> None:
        self._octets = octets
        self._implicit = implicit
        self._sequences = sequences
        self._position = 0
        self._levels: list[_Level] = []

    def step(self) -> Element | None:
        """What stands next; an Element of tag 0 where a level was entered or left; None at the end of it all."""
        if self._levels and self._levels[-1].end == self._position:
            return self._leave()
        if self._position == len(self._octets):
            if self._levels:
                raise pdu.garbled("data set cut in a sequence")
            return None
        tag, form, length = self._header()
        if tag in (ITEM_END, SEQUENCE_END):
            return self._delimit(tag)
        in_sequence = bool(self._levels) and self._levels[-1].tag != ITEM
        if (tag == ITEM) != in_sequence:
            raise pdu.garbled("sequence item out of place")
        if tag == ITEM or tag in self._sequences or form == b"SQ" or length == UNDEFINED:
            return self._enter(tag, form, length)
        return self._value(tag, length)

    def _header(self) -> tuple[int, bytes, int]:
        group, number = TAG.unpack(self._take(TAG.size))
        tag = group << 16 | number
        implicit = self._levels[-1].implicit if self._levels else self._implicit
        if implicit or group == 0xFFFE:
            return tag, b"", LONG.unpack(self._take(4))[0]
        form = self._take(2)
        if form in LONG_FORMS:
            self._take(2)
            return tag, form, LONG.unpack(self._take(4))[0]
        return tag, form, SHORT.unpack(self._take(2))[0]

    def _take(self, length: int) -> bytes:
        end = self._position + length
        outer = self._levels[-1].end if self._levels else None
        if end > (len(self._octets) if outer is None else outer):
            raise pdu.garbled("data set cut in an element")
        taken = self._octets[self._position : end]
        self._position = end
        return taken

    def _path(self) -> Path:
        return tuple(level.tag for level in self._levels)

    def _value(self, tag: int, length: int) -> Element:
        return Element(self._path(), tag, self._take(length))

    def _enter(self, tag: int, form: bytes, length: int) -> Element:
        end = None if length == UNDEFINED else self._position + length
        outer = [level.end for level in self._levels if level.end is not None]
        if len(self._levels) == MOST_DEPTH or (end or 0) > min([*outer, len(self._octets)]):
            raise pdu.garbled("sequence too deep or too long")
        before = self._levels[-1].implicit if self._levels else self._implicit
        self._levels.append(_Level(tag, end, before or form == b"UN"))  # PS3.5 6.2.2, note 2: inside, UN is implicit
        return Element((), 0, b"")

    def _delimit(self, tag: int) -> Element:
        if not self._levels or self._levels[-1].end is not None:
            raise pdu.garbled("delimiter out of place")
        if (tag == ITEM_END) != (self._levels[-1].tag == ITEM):
            raise pdu.garbled("delimiter out of place")
        return self._leave()

    def _leave(self) -> Element:
        path = self._path()
        level = self._levels.pop()
        return Element(path, ITEM_END, b"") if level.tag == ITEM else Element((), 0, b"")
