"""Files derived from a pack, kept beside it and removed with it: there whole, or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from uploads.storage.local import full_disk_is_told, pack_of, sync_directory


class DerivedFile:
    """One file by the ids of its upload and its instance, which are ours."""

    def __init__(self, upload_id: uuid.UUID, instance_pk: int) -> None:
        self.path: Path = pack_of(upload_id).derived / str(instance_pk)

    def exists(self) -> bool:
        return self.path.exists()

    @contextlib.contextmanager
    def making(self) -> Iterator[tuple[int, Path]]:
        """A descriptor to write to, and where that file stands meanwhile; kept, durably, if the block ends in peace.

        Two may make the same file at once: each has its own until it is whole, and the later one stays. Raises
        StorageFull or StorageFailed; what was written so far is gone then.
        """
        part = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.part")
        with full_disk_is_told():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                yield fd, part
                os.fsync(fd)
                part.rename(self.path)
                sync_directory(self.path.parent)
                sync_directory(self.path.parent.parent)
            finally:
                os.close(fd)
                part.unlink(missing_ok=True)
