"""The only place that builds a path or opens stored bytes. A pack is the one file of an upload."""

from uploads.storage.derived import DerivedFile
from uploads.storage.documents import read_document, write_document
from uploads.storage.local import (
    LocalPack,
    RangeBusy,
    StorageFailed,
    StorageFull,
    current_boot,
    free_bytes,
    lock_range,
    pack_of,
    write_at,
)

__all__ = [
    "DerivedFile",
    "LocalPack",
    "RangeBusy",
    "StorageFailed",
    "StorageFull",
    "current_boot",
    "free_bytes",
    "lock_range",
    "pack_of",
    "read_document",
    "write_at",
    "write_document",
]
