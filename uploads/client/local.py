"""The files on this side, laid end to end as the pack they will be; one that changes meanwhile is noticed."""

import bisect
import hashlib
import os
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from uploads.client.wire import ClientError

BLOCK = 1024 * 1024
MAX_NAME = 1024


@dataclass(frozen=True)
class LocalFile:
    """A file as it was when it was chosen. `name` is what the server is told: a path within what was handed in.

    `blocks` has a checksum for every BLOCK bytes: what is read later is compared before it is sent. The proof for
    others is `sha256`, which travels with the manifest.
    """

    path: Path
    name: str
    size: int
    sha256: str
    blocks: Sequence[int]

    @classmethod
    def of(cls, path: Path, name: str) -> "LocalFile":
        """Reads the whole file once, for its digest; ClientError `unreadable`."""
        sha256, blocks, size = hashlib.sha256(), array("L"), 0
        try:
            with path.open("rb", buffering=0) as file:
                while data := _full_block(file.fileno(), size):
                    sha256.update(data)
                    blocks.append(zlib.crc32(data))
                    size += len(data)
        except OSError as error:
            raise ClientError("unreadable", f"{name} cannot be read: {error.strerror}.") from error
        return cls(path, name, size, sha256.hexdigest(), blocks)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Bytes [offset, offset + length), each block compared with what was chosen; ClientError `file_changed`."""
        try:
            with self.path.open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != self.size:
                    raise self._changed()
                for number in range(offset // BLOCK, (offset + length - 1) // BLOCK + 1):
                    data = _full_block(file.fileno(), number * BLOCK)
                    if zlib.crc32(data) != self.blocks[number]:
                        raise self._changed()
                    yield data[max(0, offset - number * BLOCK) : offset + length - number * BLOCK]
        except OSError as error:
            raise ClientError(
                "file_changed", f"{self.name} cannot be read any more; nothing of it was sent."
            ) from error

    def _changed(self) -> ClientError:
        return ClientError(
            "file_changed",
            f"{self.name} has changed since it was chosen; nothing of the new was sent. Please start again.",
        )


def _full_block(fd: int, offset: int) -> bytes:
    """Up to BLOCK bytes, fewer only at the end of the file."""
    data = os.pread(fd, BLOCK, offset)
    while 0 < len(data) < BLOCK and (more := os.pread(fd, BLOCK - len(data), offset + len(data))):
        data += more
    return data


class Pack:
    """The stream of bytes that the files make, in this order."""

    def __init__(self, files: Sequence[LocalFile]) -> None:
        self.files = list(files)
        self._starts = list(accumulate((file.size for file in self.files), initial=0))
        self.size = self._starts.pop()

    def read(self, offset: int, length: int) -> bytearray:
        """Bytes [offset, offset + length), from as many files as they lie in: one chunk, held in memory."""
        chunk, filled = bytearray(length), 0
        index = bisect.bisect_right(self._starts, offset) - 1
        while filled < length:
            file, within = self.files[index], offset + filled - self._starts[index]
            here = min(length - filled, file.size - within)
            if here > 0:
                for piece in file.read(within, here):
                    chunk[filled : filled + len(piece)] = piece
                    filled += len(piece)
            index += 1
        return chunk


def named(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Files and the names to hand them in under: of a folder, the path within it. ClientError `nothing_there`."""
    for path in paths:
        if path.is_dir():
            top = path.resolve().name
            for one in sorted(one for one in path.rglob("*") if one.is_file()):
                yield one, tellable((Path(top) / one.relative_to(path)).as_posix())
        elif path.is_file():
            yield path, tellable(path.name)
        else:
            raise ClientError("nothing_there", f"There is no file or folder {path}.")


def tellable(name: str) -> str:
    """A name in valid Unicode and of a length the contract allows: what a disk holds need not be either."""
    return os.fsencode(name).decode("utf-8", "replace").replace("\0", "\ufffd")[-MAX_NAME:]
