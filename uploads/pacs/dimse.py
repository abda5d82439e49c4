"""The door to DIMSE: everything a delivery needs, under one name."""

from uploads.pacs.deadlines import Deadlines
from uploads.pacs.errors import (
    AssociationAborted,
    AssociationRejected,
    PeerError,
    PeerTimeout,
    PeerUnreachable,
)
from uploads.pacs.outcomes import Kind, Outcome, classify
from uploads.pacs.store import Item, Source, SourceTruncated, store

__all__ = [
    "AssociationAborted",
    "AssociationRejected",
    "Deadlines",
    "Item",
    "Kind",
    "Outcome",
    "PeerError",
    "PeerTimeout",
    "PeerUnreachable",
    "Source",
    "SourceTruncated",
    "classify",
    "store",
]
