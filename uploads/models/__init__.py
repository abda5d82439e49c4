"""Rows that guard themselves: move, claim, write, postpone."""

from uploads.models.bulk import write_columns
from uploads.models.delivery import FINAL, KEPT, Answer, Commitment, CommitmentState, Delivery, LedgerEntry, Proof
from uploads.models.destination import Auth, Destination, FetchBy, ProofWanted, Route
from uploads.models.journal import Hold, Receipt, Transition
from uploads.models.lease import MAX_CRASHES, Leased, LeaseLost
from uploads.models.study import Instance, Study
from uploads.models.upload import UNUSABLE, Chunk, FileStatus, Upload, UploadFile

__all__ = [
    "FINAL",
    "KEPT",
    "MAX_CRASHES",
    "UNUSABLE",
    "Answer",
    "Auth",
    "Chunk",
    "Commitment",
    "CommitmentState",
    "Delivery",
    "Destination",
    "FetchBy",
    "FileStatus",
    "Hold",
    "Instance",
    "LeaseLost",
    "Leased",
    "LedgerEntry",
    "Proof",
    "ProofWanted",
    "Receipt",
    "Route",
    "Study",
    "Transition",
    "Upload",
    "UploadFile",
    "write_columns",
]
