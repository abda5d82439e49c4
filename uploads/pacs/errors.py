"""Trouble with the association rather than with one instance: who cannot be reached, and who can mend it."""

from __future__ import annotations

import ssl

from uploads.pacs.outcomes import Kind


class PeerError(Exception):
    """The association could not be had or was lost.

    `kind` is RETRY (the world must get better) or PAUSE (a person must mend the configuration). `bounded`: the
    trouble may be for ever, so after a few attempts treat it as PAUSE. `detail` never holds patient data.
    `retry_after`: the seconds the peer asks us to wait before the next attempt, where it said so.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        kind: Kind = Kind.RETRY,
        *,
        bounded: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.kind = kind
        self.bounded = bounded
        self.retry_after = retry_after


class PeerUnreachable(PeerError):
    """No connection: refused, no such name, no route, or no answer in time."""


class PeerTimeout(PeerError):
    """A deadline passed: the peer stopped reading, stopped answering, or drips."""


class TlsFailed(PeerError):
    """No TLS connection: one side does not speak it, or does not trust the other."""


class AssociationRejected(PeerError):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


class AssociationAborted(PeerError):
    """A-ABORT, a release or a reset in the middle, or octets that are no DICOM."""


class QueryRefused(PeerError):
    """The peer is there, and does not answer the question; that says nothing about storing."""


class FindUnsupported(QueryRefused):
    """The peer offers no Study Root C-FIND, or no QIDO-RS; nothing can be verified by asking."""


class InstanceAbsent(PeerError):
    """The peer was asked for one instance and says that it has none of that name."""


class CommitmentUnsupported(PeerError):
    """The peer offers no storage commitment; a query must do."""


class GetUnsupported(PeerError):
    """The peer offers no Study Root C-GET, or will not send us these classes over our association."""


class MoveUnsupported(PeerError):
    """The peer offers no Study Root C-MOVE."""


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


# RFC 8446 6.2 by OpenSSL's names: what a server says whose quarrel is with the certificate we showed, or did not show.
CERTIFICATE_ALERTS = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
    "ALERT_DECRYPT_ERROR",
)
NO_COMMON_LANGUAGE = (
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNEXPECTED_MESSAGE",
    "BAD_RECORD_TYPE",
    "ALERT_HANDSHAKE_FAILURE",
    "ALERT_PROTOCOL_VERSION",
    "ALERT_INSUFFICIENT_SECURITY",
)
# X509_verify_cert(3): the errors that have a remedy of their own.
UNTRUSTED_BECAUSE = {
    9: ("tls_not_yet_valid", "The certificate of the PACS is not valid yet; look at the clocks of both machines."),
    10: ("tls_expired", "The certificate of the PACS, or of an authority it names, has expired."),
    62: ("tls_name_mismatch", "The certificate of the PACS is for another name than the one we call it by."),
    64: ("tls_name_mismatch", "The certificate of the PACS is for another name than the IP address we call it by."),
}


def tls_trouble(error: ssl.SSLError, *, agreed: bool, showed_certificate: bool) -> PeerError:
    """The error for what OpenSSL met. `agreed`: the server had chosen a cipher suite, so it spoke TLS with us.

    With TLS 1.3 a server refuses our certificate after our side of the handshake is done: the first read tells.
    """
    reason = str(error.reason)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error)
    if reason.endswith(CERTIFICATE_ALERTS) or (agreed and reason.endswith("ALERT_HANDSHAKE_FAILURE")):
        return _our_certificate(reason, showed=showed_certificate)
    if reason.endswith("UNRECOGNIZED_NAME"):
        return TlsFailed("tls_name_mismatch", "The PACS does not know the name we call it by.", Kind.PAUSE)
    if not agreed and reason.endswith(NO_COMMON_LANGUAGE):
        detail = f"The PACS speaks no TLS at this port, or none that both sides allow ({reason})."
        return TlsFailed("tls_not_spoken", detail, Kind.PAUSE)
    return TlsFailed("tls_failed", f"The TLS connection to the PACS failed ({reason}).", bounded=True)


def tls_hung_up() -> TlsFailed:
    """For a server that closes instead of ending the handshake: one without TLS does so, and one that restarts."""
    return TlsFailed("tls_hung_up", "The PACS closed the connection during the TLS handshake.", bounded=True)


def _untrusted(error: ssl.SSLCertVerificationError) -> TlsFailed:
    otherwise = (
        "tls_untrusted",
        f"The certificate of the PACS is not signed by an authority we trust ({error.verify_message}).",
    )
    code, detail = UNTRUSTED_BECAUSE.get(error.verify_code, otherwise)
    return TlsFailed(code, detail, Kind.PAUSE)


def _our_certificate(reason: str, *, showed: bool) -> TlsFailed:
    if showed and not reason.endswith("CERTIFICATE_REQUIRED"):
        return TlsFailed("tls_certificate_refused", f"The PACS refuses our certificate ({reason}).", Kind.PAUSE)
    return TlsFailed(
        "tls_certificate_wanted", f"The PACS wants a certificate of ours and got none ({reason}).", Kind.PAUSE
    )
