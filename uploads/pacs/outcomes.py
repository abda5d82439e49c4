"""What a C-STORE answer means for the instance: the status table of the Standard and of known PACS, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

# PS3.4 Table B.2-1 (C-STORE statuses) and PS3.7 Annex C (general statuses). The A77x rows are dcm4chee's
# (StoreService.java), C001/C002/C210/C211 are pynetdicom's own internal faults, 0112 and 0214 are what the
# conformance template of PS3.2 N.7.3.2.5 prints. The Standard only demands that success can be told from failure:
# "failure means not stored" is a convention, so a retry asks before it sends.

FEW = 5
"""Attempts for trouble that may pass but may also be for ever."""


class Kind(Enum):
    STORED = "stored"
    STORED_WITH_WARNING = "stored_with_warning"
    REFUSED = "refused"
    RETRY = "retry"
    PAUSE = "pause"
    """The destination's configuration must be mended by a person first: pause the destination, keep the study."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was stored: ask the destination, do not resend blindly."""
    SKIPPED = "skipped"
    """Not taken there, and its class may be left out there: the study goes on without it, with a note."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instance at one destination.

    `verify_first`: counts as stored only once the destination was asked. `max_attempts`: how many answers of this
    sort to accept before the instance counts as refused (None: no limit, with back-off). `alert`: a person should
    look at it now (identity or collision). `comment`, `error_id` and `offending` are (0000,0902), (0000,0903) and
    (0000,0901) of the answer; a comment may hold patient data, so it belongs in a row and never in a log.
    """

    kind: Kind
    status: int | None
    sentence: str
    clause: str
    code: str
    max_attempts: int | None = None
    verify_first: bool = False
    alert: bool = False
    comment: str = ""
    error_id: int | None = None
    offending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    first: int
    last: int
    kind: Kind
    code: str
    sentence: str
    clause: str
    max_attempts: int | None = None
    verify_first: bool = False
    alert: bool = False


B2 = "PS3.4 B.2.3"
C = "PS3.7 Annex C"
DCM4CHEE = "dcm4chee StoreService"
PYNETDICOM = "pynetdicom status"


def _one(status: int, kind: Kind, code: str, sentence: str, clause: str, *, tries: int | None = None) -> _Row:
    return _Row(status, status, kind, code, sentence, clause, tries)


def _alert(status: int, code: str, sentence: str) -> _Row:
    return _Row(status, status, Kind.REFUSED, code, sentence, DCM4CHEE, alert=True)


# The first row that holds the status decides: single codes stand before the ranges that hold them.
TABLE: tuple[_Row, ...] = (
    _one(0x0000, Kind.STORED, "stored", "The PACS says it has stored the image.", C),
    _one(0x0001, Kind.STORED_WITH_WARNING, "stored_with_warning", "Stored, with a warning from the PACS.", C),
    _one(0x0107, Kind.STORED_WITH_WARNING, "attributes_warned", "Stored; the PACS warns of some attributes.", C),
    _one(0x0116, Kind.STORED_WITH_WARNING, "attributes_warned", "Stored; a value is out of range for the PACS.", C),
    _one(0xB000, Kind.STORED_WITH_WARNING, "coerced", "Stored, but the PACS changed some values.", B2),
    _one(0xB006, Kind.STORED_WITH_WARNING, "elements_discarded", "Stored, but the PACS dropped some elements.", B2),
    _one(0xB007, Kind.STORED_WITH_WARNING, "class_mismatch_warned", "Stored; it does not quite match its type.", B2),
    _Row(0xB000, 0xBFFF, Kind.STORED_WITH_WARNING, "vendor_warning", "Stored, with a warning of the maker's own.", B2),
    _one(0xA700, Kind.RETRY, "out_of_resources", "The PACS is out of space or memory; it is tried again.", B2),
    _Row(0xA770, 0xA776, Kind.REFUSED, "retention_refused", "The PACS refuses it by its retention rules.", DCM4CHEE),
    _one(0xA777, Kind.REFUSED, "patient_id_missing", "The PACS refuses an image without Patient ID.", DCM4CHEE),
    _alert(0xA778, "patient_id_conflict", "The PACS holds this study under another Patient ID. Check the patient."),
    _one(0xA779, Kind.REFUSED, "patient_conflict", "The PACS holds other details of this patient.", DCM4CHEE),
    _one(0xA77A, Kind.RETRY, "study_being_deleted", "The PACS is just deleting this study.", DCM4CHEE, tries=FEW),
    _alert(0xA77B, "uid_collision", "The PACS has this image under another study or series. Check for a mix-up."),
    _Row(0xA700, 0xA7FF, Kind.RETRY, "out_of_resources", "The PACS cannot take it just now.", B2, FEW),
    _Row(0xA900, 0xA9FF, Kind.REFUSED, "class_mismatch", "The PACS says the image does not match its type.", B2),
    _one(0xC001, Kind.RETRY, "peer_fault", "The PACS failed inside; it is tried again.", PYNETDICOM, tries=FEW),
    _one(0xC002, Kind.RETRY, "peer_fault", "The PACS failed inside; it is tried again.", PYNETDICOM, tries=FEW),
    _one(0xC210, Kind.RETRY, "peer_fault", "The PACS could not read it; it is tried again.", PYNETDICOM, tries=FEW),
    _one(0xC211, Kind.RETRY, "peer_fault", "The PACS failed inside; it is tried again.", PYNETDICOM, tries=FEW),
    _one(0xC409, Kind.REFUSED, "study_uid_mismatch", "The PACS expected another study.", "dcm4chee StowRS"),
    _one(0xC499, Kind.REFUSED, "not_understood", "The PACS could not read the image.", "dcm4chee StowRS"),
    _one(0xC122, Kind.REFUSED, "syntax_unsupported", "The PACS does not take this encoding.", "PS3.18 I.2.2"),
    _Row(0xC000, 0xCFFF, Kind.REFUSED, "not_understood", "The PACS could not understand the image.", B2),
    _one(0x0105, Kind.REFUSED, "argument_refused", "The PACS knows no such attribute.", C),
    _one(0x0106, Kind.REFUSED, "argument_refused", "The PACS refuses a value of an attribute.", C),
    _one(0x0110, Kind.RETRY, "processing_failure", "The PACS failed inside; it is tried again.", C, tries=FEW),
    _Row(0x0111, 0x0111, Kind.STORED, "duplicate", "The PACS has an image of this name.", C, verify_first=True),
    _one(0x0112, Kind.REFUSED, "class_unsupported", "The PACS does not take this type of image.", "PS3.2 N.7.3.2.5"),
    _one(0x0114, Kind.REFUSED, "argument_refused", "The PACS knows no such argument.", C),
    _one(0x0115, Kind.REFUSED, "argument_refused", "The PACS refuses an argument.", C),
    _one(0x0117, Kind.REFUSED, "instance_invalid", "The PACS says the name (UID) of the image is not valid.", C),
    _one(0x0118, Kind.REFUSED, "class_unsupported", "The PACS knows no such type of image.", C),
    _one(0x0119, Kind.REFUSED, "class_instance_conflict", "The PACS has this image as another type.", C),
    _one(0x0120, Kind.REFUSED, "argument_refused", "The PACS misses an attribute.", C),
    _one(0x0121, Kind.REFUSED, "argument_refused", "The PACS misses the value of an attribute.", C),
    _one(0x0122, Kind.REFUSED, "class_unsupported", "The PACS does not take this type of image.", C),
    _one(0x0123, Kind.REFUSED, "argument_refused", "The PACS knows no such action.", C),
    _one(0x0124, Kind.PAUSE, "not_authorised", "The PACS does not allow us to store. Its administrator must.", C),
    _one(0x0214, Kind.PAUSE, "not_authorised", "The PACS does not allow us to store.", "PS3.2 N.7.3.2.5"),
    _one(0x0210, Kind.RETRY, "protocol_trouble", "The PACS mistook the request; tried once more.", C, tries=2),
    _one(0x0211, Kind.RETRY, "protocol_trouble", "The PACS did not know the request; tried once more.", C, tries=2),
    _one(0x0212, Kind.RETRY, "protocol_trouble", "The PACS mistook an argument; tried once more.", C, tries=2),
    _one(0x0213, Kind.RETRY, "resource_limitation", "The PACS has no room for it just now.", C),
    _one(0xFE00, Kind.UNKNOWN, "cancelled", "The PACS speaks of a cancel; it is asked what it has.", C),
)


def classify(status: int | None) -> Outcome:
    """What the (0000,0900) Status of a C-STORE-RSP means; None stands for "no answer came"."""
    if status is None:
        return Outcome(
            Kind.UNKNOWN, None, "No answer came; the PACS is asked whether it has the image.", C, "no_answer"
        )
    for row in TABLE:
        if row.first <= status <= row.last:
            return Outcome(
                row.kind,
                status,
                row.sentence,
                row.clause,
                row.code,
                max_attempts=row.max_attempts,
                verify_first=row.verify_first,
                alert=row.alert,
            )
    sentence = f"The PACS answered {status:04X}, which the Standard does not know; it is tried again."
    return Outcome(Kind.RETRY, status, sentence, C, "status_unknown", max_attempts=FEW)


def unanswered(reason: str) -> Outcome:
    """The instance was under way when the association ended; `reason` names the trouble, without patient data."""
    return replace(classify(None), comment=reason)


CONTEXT_RESULTS = {
    1: ("user rejection", "the PACS rejected the offer"),
    2: ("no reason", "the PACS gave no reason"),
    3: ("abstract syntax", "the PACS does not take this type of image"),
    4: ("transfer syntax", "the PACS does not take this encoding (compression)"),
}


def context_refused(sop_class_uid: str, transfer_syntax_uid: str, *, result: int) -> Outcome:
    """Permanent for this (destination, SOP class, transfer syntax): PS3.8 9.3.3.2, result 3 or 4 (1, 2 likewise)."""
    what, why = CONTEXT_RESULTS.get(result, CONTEXT_RESULTS[2])
    sentence = f"Not offered: {why} (SOP class {sop_class_uid}, transfer syntax {transfer_syntax_uid})."
    comment = f"presentation context refused: {what} ({result})"
    return Outcome(Kind.REFUSED, None, sentence, "PS3.8 9.3.3.2", "context_refused", comment=comment)


def odd_length() -> Outcome:
    """Not sent: all elements have even length (PS3.5 7.1.1), and this peer aborts the association on an odd one."""
    sentence = "The image has an odd number of bytes, so it is damaged or cut, and this PACS takes no such image."
    return Outcome(Kind.REFUSED, None, sentence, "PS3.5 7.1.1", "odd_length")


def turned_away(kind: Kind, code: str, sentence: str) -> Outcome:
    """The whole HTTP request was refused, and nothing of it was stored (RFC 9110 15.4 to 15.6, PS3.18 10.5.3)."""
    return Outcome(kind, None, sentence, "PS3.18 10.5.3", code)
