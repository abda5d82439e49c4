"""Small documents that are kept as they were made: receipts."""

import os
import uuid
from pathlib import Path

from django.conf import settings

from uploads.storage.local import full_disk_is_told, sync_directory


def _path(name: str) -> Path:
    mark = uuid.UUID(name).hex
    root: Path = settings.STORAGE_ROOT
    return root / "documents" / mark[:2] / mark


def write_document(content: bytes) -> str:
    """Keeps the bytes durably and answers the name they are found by."""
    name = str(uuid.uuid4())
    path = _path(name)
    with full_disk_is_told():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    return name


def read_document(name: str) -> bytes:
    """The bytes kept under that name.

    Raises:
        FileNotFoundError: nothing is kept there.
    """
    return _path(name).read_bytes()
