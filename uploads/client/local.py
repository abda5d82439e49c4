"""The files on this side, laid end to end as the pack they will be; one that changes meanwhile is noticed."""

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from uploads.client.wire import ClientError

READ = 1024 * 1024


@dataclass(frozen=True)
class LocalFile:
    """A file as it was when it was chosen. `name` is what the server is told: a path within what was handed in."""

    path: Path
    name: str
    size: int
    modified: int  # ns
    sha256: str

    @classmethod
    def of(cls, path: Path, name: str) -> "LocalFile":
        """Reads the whole file once, for its digest."""
        with path.open("rb") as file:
            before = path.stat()
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = cls(path, name, before.st_size, before.st_mtime_ns, digest)
        found.check()
        return found

    def check(self) -> None:
        """Raises ClientError file_changed when it is not the file that was chosen any more."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise ClientError("file_changed", f"{self.name} cannot be read any more.") from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            raise ClientError("file_changed", f"{self.name} has changed since it was chosen; please start again.")


class Pack:
    """The stream of bytes that the files make, in this order."""

    def __init__(self, files: Sequence[LocalFile]) -> None:
        self.files = list(files)
        self._starts = list(accumulate((file.size for file in self.files), initial=0))
        self.size = self._starts.pop()

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Bytes [offset, offset + length) in pieces of at most 1 MiB, from as many files as they lie in."""
        index = bisect.bisect_right(self._starts, offset) - 1
        while length > 0:
            file, start = self.files[index], self._starts[index]
            here = min(length, start + file.size - offset)
            if here > 0:
                yield from self._read_file(file, offset - start, here)
                offset, length = offset + here, length - here
            index += 1

    def digest(self, offset: int, length: int) -> bytes:
        """SHA-256 of a span."""
        sha256 = hashlib.sha256()
        for piece in self.read(offset, length):
            sha256.update(piece)
        return sha256.digest()

    @staticmethod
    def _read_file(file: LocalFile, offset: int, length: int) -> Iterator[bytes]:
        file.check()
        with file.path.open("rb") as opened:
            opened.seek(offset)
            while length > 0:
                piece = opened.read(min(READ, length))
                if not piece:
                    raise ClientError("file_changed", f"{file.name} has become shorter since it was chosen.")
                length -= len(piece)
                yield piece
        file.check()
