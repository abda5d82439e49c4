"""Trouble with the association rather than with one instance: who cannot be reached, and who can mend it."""

from __future__ import annotations

from uploads.pacs.outcomes import Kind


class PeerError(Exception):
    """The association could not be had or was lost.

    `kind` is RETRY (the world must get better) or PAUSE (a person must mend the configuration). `bounded`: the
    trouble may be for ever, so after a few attempts treat it as PAUSE. `detail` never holds patient data.
    """

    def __init__(self, code: str, detail: str, kind: Kind = Kind.RETRY, *, bounded: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.kind = kind
        self.bounded = bounded


class PeerUnreachable(PeerError):
    """No connection: refused, no such name, no route, or no answer in time."""


class PeerTimeout(PeerError):
    """A deadline passed: the peer stopped reading, stopped answering, or drips."""


class AssociationRejected(PeerError):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


class AssociationAborted(PeerError):
    """A-ABORT, a release or a reset in the middle, or octets that are no DICOM."""


class FindUnsupported(PeerError):
    """The peer offers no Study Root C-FIND; nothing can be verified by asking."""


# PS3.8 Table 9-21: (source, reason) of a permanent rejection that only a configuration change can mend.
REJECTED_BY_CONFIGURATION = {
    (1, 3): ("calling_ae_unknown", "The PACS does not know our AE title (calling AE not recognised)."),
    (1, 7): ("called_ae_unknown", "The PACS does not answer to this AE title (called AE not recognised)."),
}
REJECTED_FOR_NOW = {
    (3, 1): ("rejected_congestion", "The PACS is congested just now."),
    (3, 2): ("rejected_limit", "The PACS has too many associations open just now."),
}


def rejection(*, result: int, source: int, reason: int) -> AssociationRejected:
    """The error for an A-ASSOCIATE-RJ with these three numbers (PS3.8 Table 9-21)."""
    numbers = f"[result {result}, source {source}, reason {reason}]"
    if (source, reason) in REJECTED_FOR_NOW:
        code, detail = REJECTED_FOR_NOW[source, reason]
        return AssociationRejected(code, f"{detail} {numbers}")
    if result == 2:
        return AssociationRejected("rejected_transient", f"The PACS refuses the association for now. {numbers}")
    if (source, reason) in REJECTED_BY_CONFIGURATION:
        code, detail = REJECTED_BY_CONFIGURATION[source, reason]
        return AssociationRejected(code, f"{detail} {numbers}", Kind.PAUSE)
    return AssociationRejected("rejected", f"The PACS refuses the association. {numbers}", bounded=True)
