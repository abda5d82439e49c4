"""A moving window over a file: headers are read in one go, and everything large is stepped over unread."""

import struct
from typing import Final

from uploads.dicom.codes import Unfit
from uploads.dicom.source import Source

REACH: Final = 16 * 1024
"""Bytes read at once; the header of an ordinary slice fits."""
_LENGTH: Final = {False: struct.Struct("<L").unpack_from, True: struct.Struct(">L").unpack_from}


class Window:
    """`buffer` holds the bytes of the source from `base` on. Memory does not grow with the source."""

    __slots__ = ("base", "buffer", "size", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size = source.size
        self.base = 0
        self.buffer = source.pread(REACH, 0)

    def see(self, position: int, length: int) -> None:
        """Move so that `length` bytes from `position` (at most REACH) are in the buffer.

        Raises:
            Unfit: `truncated`, the file ends before.
        """
        self.buffer = self.source.pread(REACH, position)
        self.base = position
        if len(self.buffer) < length:
            raise Unfit(
                "truncated", f"The file ends in the middle of an element, at byte {position + len(self.buffer)}."
            )

    def reach(self, position: int, length: int) -> None:
        """As `see`, but stay where the bytes are in the buffer already."""
        if position < self.base or position + length > self.base + len(self.buffer):
            self.see(position, length)

    def read(self, position: int, length: int) -> bytes:
        """Exactly `length` bytes (at most REACH) at `position`; raises as `see` does."""
        start = position - self.base
        if start < 0 or start + length > len(self.buffer):
            self.see(position, length)
            start = 0
        return self.buffer[start : start + length]

    def number(self, position: int, *, big_endian: bool = False) -> int:
        """The 32-bit length at `position`."""
        start = position - self.base
        if start < 0 or start + 4 > len(self.buffer):
            self.see(position, 4)
            start = 0
        length: int = _LENGTH[big_endian](self.buffer, start)[0]
        return length
