"""Rows that guard themselves: move, claim, write, postpone."""

from uploads.models.delivery import KEPT, Answer, Delivery, Destination, LedgerEntry, Proof
from uploads.models.journal import Hold, Receipt, Transition
from uploads.models.lease import MAX_CRASHES, Leased, LeaseLost
from uploads.models.study import Instance, Study
from uploads.models.upload import Chunk, FileStatus, Upload, UploadFile

__all__ = [
    "KEPT",
    "MAX_CRASHES",
    "Answer",
    "Chunk",
    "Delivery",
    "Destination",
    "FileStatus",
    "Hold",
    "Instance",
    "LeaseLost",
    "Leased",
    "LedgerEntry",
    "Proof",
    "Receipt",
    "Study",
    "Transition",
    "Upload",
    "UploadFile",
]
