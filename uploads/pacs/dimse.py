"""The door to DIMSE: everything a delivery needs, under one name."""

from uploads.pacs.deadlines import Deadlines
from uploads.pacs.errors import (
    AssociationAborted,
    AssociationRejected,
    PeerError,
    PeerTimeout,
    PeerUnreachable,
    TlsFailed,
)
from uploads.pacs.outcomes import Kind, Outcome, classify
from uploads.pacs.rules import DEFAULT_RULES, Rules
from uploads.pacs.store import Item, Source, SourceTruncated, store

__all__ = [
    "DEFAULT_RULES",
    "AssociationAborted",
    "AssociationRejected",
    "Deadlines",
    "Item",
    "Kind",
    "Outcome",
    "PeerError",
    "PeerTimeout",
    "PeerUnreachable",
    "Rules",
    "Source",
    "SourceTruncated",
    "TlsFailed",
    "classify",
    "store",
]
