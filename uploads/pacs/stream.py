"""An instance as it leaves: read from the pack through one bounded buffer, never decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from uploads.pacs import pdu
from uploads.pacs.wire import Octets

MOST_OCTETS = 1 << 20
MOST_UNITS = 256
"""Units per send: two parts each, and the kernel takes at most 1,024 parts (IOV_MAX)."""


class Source(Protocol):
    """The data set of one instance inside a pack; all numbers are octets."""

    @property
    def offset(self) -> int:
        """Where the data set begins in the file of `fileno()`."""

    @property
    def size(self) -> int:
        """How long the data set is."""

    def fileno(self) -> int:
        """The descriptor of a plain file, or -1 where only `pread` can read (encrypted, remote)."""

    def pread(self, length: int, offset: int, /) -> bytes:
        """Up to `length` octets of the data set from `offset`, counted from the start of the data set."""


class SourceTruncated(OSError):
    """The pack ends before the instance does."""


class Buffer:
    """At most 1 MiB, filled again and again; the parts it yields are valid until the next ones are asked for."""

    def __init__(self, fragment: int) -> None:
        self._fragment = fragment
        self._room = min(MOST_UNITS, max(1, MOST_OCTETS // fragment)) * fragment
        self._view = memoryview(bytearray(0))

    def units(self, source: Source, context_id: int, *, pad: bool = False) -> Iterator[list[Octets]]:
        """The data set as lists of [header, slice, header, slice ...], each list whole P-DATA-TF units.

        `pad` adds the one NUL with which PS3.5 A.5 makes a deflated data set of odd length even.
        """
        if len(self._view) < min(self._room, source.size):
            self._view = memoryview(bytearray(min(self._room, source.size)))
        if source.size <= 0:
            raise SourceTruncated("The instance has no data set.")
        position = 0
        while position < source.size:
            piece = self._view[: min(self._room, source.size - position)]
            _fill(piece, source, position)
            position += len(piece)
            last = position == source.size
            yield self._parts(piece, context_id, last=last, pad=pad and last)

    def _parts(self, piece: memoryview, context_id: int, *, last: bool, pad: bool) -> list[Octets]:
        parts: list[Octets] = []
        middle = pdu.data_header(context_id, 0, self._fragment)
        for start in range(0, len(piece), self._fragment):
            parts += (middle, piece[start : start + self._fragment])
        if last:
            parts[-2] = pdu.data_header(context_id, pdu.LAST, len(parts[-1]) + pad)
        if pad:
            parts.append(b"\0")
        return parts


class Refill:
    """A data set as slices of at most 1 MiB; each is valid until the next one is asked for."""

    def __init__(self) -> None:
        self._view = memoryview(bytearray(0))

    def pieces(self, source: Source) -> Iterator[memoryview]:
        """The data set from its first octet to its last. Raises SourceTruncated where the pack ends before it."""
        if source.size <= 0:
            raise SourceTruncated("The instance has no data set.")
        if len(self._view) < min(MOST_OCTETS, source.size):
            self._view = memoryview(bytearray(min(MOST_OCTETS, source.size)))
        for position in range(0, source.size, MOST_OCTETS):
            piece = self._view[: min(MOST_OCTETS, source.size - position)]
            _fill(piece, source, position)
            yield piece


def _fill(piece: memoryview, source: Source, position: int) -> None:
    descriptor = source.fileno()
    filled = 0
    while filled < len(piece):
        if descriptor >= 0:
            count = os.preadv(descriptor, [piece[filled:]], source.offset + position + filled)
        else:
            octets = source.pread(len(piece) - filled, position + filled)
            count = len(octets)
            piece[filled : filled + count] = octets
        if count == 0:
            raise SourceTruncated("The pack ends before the instance does.")
        filled += count
