"""Deflated data sets, read as they inflate: bounded in memory, and in what they may become (PS3.5, A.5)."""

import struct
import zlib
from typing import Final

from uploads.dicom.codes import Unfit
from uploads.dicom.source import Source

MAX_INFLATED: Final = 256 * 1024 * 1024
"""Bytes. What reads the file after us inflates it as a whole."""
_TRAILER: Final = struct.Struct("<LL")
_STEP: Final = 64 * 1024
_KEPT: Final = 128 * 1024


class Inflated:
    """A Source over the inflated form of a deflate stream that starts at byte `start` of `source`.

    Reading forward is cheap; only the last 128 KiB can be read again. The first pass, made here, inflates
    everything once to learn its size and to see the end of the stream.

    Raises:
        Unfit: `bomb` or `truncated`.
    """

    def __init__(self, source: Source, start: int) -> None:
        self._source = source
        self._start = start
        self._rewind()
        while self._inflate():
            if self._held_from + len(self._held) > MAX_INFLATED:
                raise Unfit("bomb", f"The compressed data set grows beyond {MAX_INFLATED // 2**20} MiB.")
        self._check_end()
        self.size = self._held_from + len(self._held)
        self._rewind()

    def pread(self, length: int, offset: int) -> bytes:
        if offset < self._held_from:
            self._rewind()
        while self._held_from + len(self._held) < offset + length and self._inflate():
            pass
        start = offset - self._held_from
        return bytes(self._held[start : start + length])

    def _rewind(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._next = self._start
        self._crc = 0
        self._held = bytearray()
        self._held_from = 0

    def _inflate(self) -> bool:
        """Inflate a little more; False at the end of the stream."""
        if self._stream.eof:
            return False
        deflated = self._stream.unconsumed_tail
        if not deflated:
            deflated = self._source.pread(_STEP, self._next)
            self._next += len(deflated)
        try:
            inflated = self._stream.decompress(deflated, _STEP)
        except zlib.error as error:
            raise Unfit("truncated", "The compressed data set is damaged.") from error
        if not deflated and not inflated and not self._stream.eof:
            raise Unfit("truncated", "The compressed data set breaks off.")
        self._crc = zlib.crc32(inflated, self._crc)
        self._held += inflated
        if len(self._held) > 2 * _KEPT:
            dropped = len(self._held) - _KEPT
            del self._held[:dropped]
            self._held_from += dropped
        return True

    def _check_end(self) -> None:
        """Behind the stream stands nothing, the one zero byte that makes its length even, or a true gzip trailer.

        The trailer (RFC 1952, section 2.3.1) does not belong there, but some writers leave it, and it proves the data.
        """
        left = self._stream.unused_data + self._source.pread(_TRAILER.size + 2, self._next)
        if left in (b"", b"\0"):
            return
        trailer = _TRAILER.pack(self._crc, (self._held_from + len(self._held)) & 0xFFFFFFFF)
        if left not in (trailer, trailer + b"\0"):
            raise Unfit("truncated", "Bytes follow the end of the compressed data set.")
