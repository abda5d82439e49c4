"""Where an instance's bytes are read from: a slice of a pack, or bytes at hand; never copied to disk."""

import io
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Source(Protocol):
    """Something of a known size (bytes) that can be read at any offset."""

    @property
    def size(self) -> int: ...

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end of what is there."""
        ...


class FileSlice:
    """`size` bytes from `offset` of an open file: an instance inside its pack. The descriptor stays the caller's."""

    __slots__ = ("_fd", "offset", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self.offset = offset
        self.size = size

    def fileno(self) -> int:
        return self._fd

    def pread(self, length: int, offset: int) -> bytes:
        """Bytes of this slice only: what lies before or behind it in the pack belongs to other instances."""
        length = min(length, self.size - offset)
        return os.pread(self._fd, length, self.offset + offset) if length > 0 else b""


class BytesSource:
    """Bytes already in memory."""

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def pread(self, length: int, offset: int) -> bytes:
        return self._data[offset : offset + length]


class SourceFile(io.RawIOBase):
    """A Source as the file object that pydicom asks for, without a name it could open."""

    name = ""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        with memoryview(buffer) as view:
            data = self._source.pread(len(view), self._position)
            view[: len(data)] = data
        self._position += len(data)
        return len(data)
