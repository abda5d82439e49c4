"""Packs on a local disk: one sparse file per upload, written at the chunk's offset, read as spans."""

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from django.conf import settings

from relaypacs.errors import TryLater

# struct flock of Linux on 64 bits: l_type, l_whence, l_start, l_len, l_pid
_FLOCK = "hhqqi4x"
_SYNC_BYTE = 2**62  # beyond any pack: the lock of whoever syncs it
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RangeBusy(Exception):
    """Another writer holds these bytes."""


class StorageFull(TryLater):
    """The disk has no room; nothing that was acknowledged is touched."""

    status = 507

    def __init__(self) -> None:
        super().__init__(
            "no_space",
            "The gateway has no room for this at the moment; nothing already received is lost. Please try again later.",
            retry_after=60,
        )


class StorageFailed(TryLater):
    """The disk does not do what it is told (EIO, EROFS); a person must look at it."""

    def __init__(self) -> None:
        super().__init__("storage_failed", "The gateway's disk does not answer as it should.", retry_after=30)


@cache
def current_boot() -> str:
    """Names this boot of the machine; what was written in an earlier one and not synced may be gone."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown-boot"


def free_bytes() -> int:
    """Bytes that an ordinary user may still write on the disk of the packs."""
    root: Path = settings.STORAGE_ROOT
    root.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(root).free


@contextlib.contextmanager
def full_disk_is_told() -> Iterator[None]:
    """ENOSPC, EDQUOT and EFBIG become 507; EIO and EROFS 503."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull from error
        if error.errno in (errno.EIO, errno.EROFS):
            raise StorageFailed from error
        raise


def pack_of(upload_id: uuid.UUID) -> "LocalPack":
    """The pack of an upload; its path is made of our own id alone."""
    mark = upload_id.hex
    return LocalPack(settings.STORAGE_ROOT / mark[:2] / f"{mark}.pack")


class LocalPack:
    """The bytes of one upload.

    Offsets and lengths are in bytes from the start of the pack. `open()` it for reading or writing; every open has
    its own descriptor, which is what the byte-range locks belong to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, size: int) -> None:
        """Makes the empty pack, as long as it will be, and the directory entry durable."""
        with full_disk_is_told():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)
            sync_directory(self.path.parent)
            sync_directory(self.path.parent.parent)

    def exists(self) -> bool:
        return self.path.exists()

    @contextlib.contextmanager
    def open(self, *, write: bool = False) -> Iterator[int]:
        """A descriptor on the pack, closed at the end; any lock taken on it goes with it."""
        fd = os.open(self.path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Puts all octets written so far, by whichever process, on the medium (fdatasync works on the file).

        Raises:
            StorageFull, StorageFailed: octets written since the last sync may be lost. The kernel says so once: the
            next sync succeeds all the same, so whoever is told must take back what was acknowledged.
        """
        with full_disk_is_told(), self.open() as fd:
            os.fdatasync(fd)

    @contextlib.contextmanager
    def sync_alone(self) -> Iterator[None]:
        """One at a time, in all processes: a loss is told to one of them, and the others must not miss it."""
        with self.open(write=True) as fd:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _SYNC_BYTE, 1, 0))
            yield

    def remove(self) -> None:
        """With all that was derived from it."""
        self.path.unlink(missing_ok=True)
        if self.derived.exists():
            shutil.rmtree(self.derived)

    @property
    def derived(self) -> Path:
        """The folder of what was derived from the pack: decoded images, each under the number of its instance."""
        return self.path.with_suffix(".derived")


def lock_range(fd: int, offset: int, length: int) -> None:
    """Takes an exclusive lock on a span of the pack, or raises RangeBusy at once.

    An open-file-description lock: it holds between threads and processes of this machine, and the kernel drops it
    when the descriptor is closed, however the process ended.
    """
    request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, length, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise RangeBusy from error
        raise


def write_at(fd: int, data: "bytes | bytearray | memoryview", offset: int) -> None:
    """Writes all of it at the offset; StorageFull when there is no room."""
    view = memoryview(data)
    with full_disk_is_told():
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
