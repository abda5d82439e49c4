"""What a PACS reports of a storage commitment: which instances it will keep, which not, and what to do about those."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from uploads.pacs import pdu
from uploads.pacs.elements import ITEM, ITEM_END, Path, elements

TRANSACTION_UID = 0x00081195
FAILURE_REASON = 0x00081197
FAILED = 0x00081198
REFERENCED = 0x00081199
SOP_CLASS, SOP_INSTANCE = 0x00081150, 0x00081155
ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""The event types (PS3.4 J.3.3)."""
LONGEST_REPORT = 4 << 20
"""Octets; a report on 1,000 instances has about 150,000."""
MOST_REFERENCES = 20_000
UID = re.compile(r"[0-9.]{1,64}")
HEADER = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class Reference:
    """One instance by its names."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Report:
    """One N-EVENT-REPORT: what the PACS committed to keep, and what not, by SOP Instance UID with its Failure Reason.

    It is complete: what it does not name, the PACS has not answered for.
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: Mapping[str, int]


class Meaning(Enum):
    RESEND = "resend"
    """It is not there: send it again."""
    ASK_AGAIN = "ask_again"
    NEW_TRANSACTION = "new_transaction"
    """Ask again under another transaction UID."""
    REFUSED = "refused"
    """Neither sending nor asking again will help."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a Failure Reason asks of us. `max_attempts`: how many such answers to accept before it counts as refused."""

    meaning: Meaning
    reason: int
    code: str
    sentence: str
    clause: str
    max_attempts: int | None = None


C14 = "PS3.3 C.14.1.1"
FEW = 5

FAILURES: tuple[Failure, ...] = (
    Failure(Meaning.RESEND, 0x0112, "not_there", "The PACS does not have the image.", C14, FEW),
    Failure(Meaning.ASK_AGAIN, 0x0213, "no_room_to_commit", "The PACS cannot commit to it just now.", C14),
    Failure(Meaning.ASK_AGAIN, 0x0110, "commitment_failed", "The PACS failed inside.", C14, FEW),
    Failure(Meaning.NEW_TRANSACTION, 0x0131, "transaction_known", "The transaction UID was used before.", C14, FEW),
    Failure(Meaning.REFUSED, 0x0119, "class_conflict", "The PACS has the image as another type.", C14),
    Failure(Meaning.REFUSED, 0x0122, "class_uncommitted", "The PACS does not commit to this type of image.", C14),
)


def failure(reason: int) -> Failure:
    """The row for a (0008,1197) Failure Reason; one that the Standard does not know is asked about a few times more."""
    for row in FAILURES:
        if row.reason == reason:
            return row
    sentence = f"The PACS gives {reason:04X} as its reason, which the Standard does not know."
    return Failure(Meaning.ASK_AGAIN, reason, "reason_unknown", sentence, C14, FEW)


def wanted(transaction_uid: str, references: Iterable[Reference]) -> bytes:
    """The Action Information in Implicit VR Little Endian (PS3.4 J.3.2)."""
    items = b"".join(_item(reference) for reference in references)
    return _element(TRANSACTION_UID, _uid(transaction_uid)) + _element(REFERENCED, items)


def _item(reference: Reference) -> bytes:
    names = _element(SOP_CLASS, _uid(reference.sop_class_uid)) + _element(
        SOP_INSTANCE, _uid(reference.sop_instance_uid)
    )
    return _element(ITEM, names)


def _element(tag: int, value: bytes) -> bytes:
    return HEADER.pack(tag >> 16, tag & 0xFFFF, len(value)) + value


def _uid(uid: str) -> bytes:
    octets = uid.encode("ascii")
    return octets + b"\0" * (len(octets) % 2)


def read(octets: bytes, *, implicit: bool) -> Report:
    """The Event Information of one report (PS3.4 J.3.3); AssociationAborted where it cannot be relied on.

    A report that names an instance twice over, once as kept and once as not, says nothing.
    """
    if len(octets) > LONGEST_REPORT:
        raise pdu.garbled("report too long")
    transaction, committed, failed = "", dict[str, None](), dict[str, int]()
    item: dict[int, bytes] = {}
    for element in elements(octets, implicit=implicit, sequences=frozenset({FAILED, REFERENCED})):
        if element.path == () and element.tag == TRANSACTION_UID:
            transaction = _text(element.value)
        elif element.path in IN_ITEM and element.tag == ITEM_END:
            _note(element.path, item, committed, failed)
            item = {}
        elif element.path in IN_ITEM:
            item[element.tag] = element.value
    if not transaction or committed.keys() & failed.keys():
        raise pdu.garbled("commitment report")
    return Report(transaction, tuple(committed), failed)


IN_ITEM: tuple[Path, Path] = ((REFERENCED, ITEM), (FAILED, ITEM))


def _note(path: Path, item: Mapping[int, bytes], committed: dict[str, None], failed: dict[str, int]) -> None:
    instance = _text(item.get(SOP_INSTANCE, b""))
    if path == IN_ITEM[0]:
        committed[instance] = None
    else:
        failed[instance] = _reason(item.get(FAILURE_REASON, b""))
    if len(committed) + len(failed) > MOST_REFERENCES:
        raise pdu.garbled("report of too many instances")


def _text(octets: bytes) -> str:
    uid = octets.decode("latin-1").rstrip("\0 ")
    if not UID.fullmatch(uid):
        raise pdu.garbled("UID")
    return uid


def _reason(octets: bytes) -> int:
    if len(octets) != 2:
        raise pdu.garbled("failure reason")
    return int.from_bytes(octets, "little")
