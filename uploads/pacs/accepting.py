"""The other side of a negotiation: what whoever calls us asks for, and what we agree to (PS3.8 9.3.2 to 9.3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor
from pynetdicom.sop_class import _STORAGE_CLASSES

from uploads.pacs import pdu

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
STANDARD = "1.2.840.10008."
STORAGE = frozenset(str(uid) for uid in _STORAGE_CLASSES.values())
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)

CALLING_AE_UNKNOWN = (1, 1, 3)
CONGESTED = (2, 3, 1)
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)
"""Result, source and reason of a rejection (PS3.8 Table 9-21)."""


@dataclass(frozen=True, slots=True)
class Call:
    """An A-ASSOCIATE-RQ, read. `longest`: the longest P-DATA-TF the caller takes (0: any)."""

    calling_ae: str
    longest: int
    primitive: A_ASSOCIATE


@dataclass(frozen=True, slots=True)
class Agreed:
    """One context that we accepted."""

    sop_class_uid: str
    transfer_syntax_uid: str

    @property
    def storage(self) -> bool:
        return is_storage(self.sop_class_uid)


def is_storage(sop_class_uid: str) -> bool:
    """Whether instances are stored by this class: the Standard's own, and whatever a maker has added."""
    return sop_class_uid in STORAGE or not sop_class_uid.startswith(STANDARD)


def read(body: bytes) -> Call:
    """The call in the body of an A-ASSOCIATE-RQ; AssociationAborted where it is garbled."""
    try:
        unit = A_ASSOCIATE_RQ()
        unit.decode(pdu.HEADER.pack(pdu.ASSOCIATE_RQ, len(body)) + body)
        primitive = unit.to_primitive()
        calling = str(primitive.calling_ae_title or "").strip()
        return Call(calling, int(primitive.maximum_length_received or 0), primitive)
    except Exception as error:  # whatever foreign octets do to the decoder, the call cannot be taken
        raise pdu.garbled("A-ASSOCIATE-RQ") from error


def accept(call: Call, *, storage: bool) -> tuple[bytes, dict[int, Agreed]]:
    """The A-ASSOCIATE-AC, and by context id what was agreed to: C-ECHO, commitment reports; C-STORE with `storage`.

    Of the transfer syntaxes of a storage context the first is taken: what a PACS names first is what it has.
    """
    asked = call.primitive.presentation_context_definition_list
    roles: dict[UID, Any] = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in call.primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid
    }
    try:
        results, answers = negotiate_as_acceptor(asked, _supported(asked, storage=storage), roles)
        return _acceptance(call.primitive, results, answers), _agreed(results)
    except Exception as error:  # as above
        raise pdu.garbled("A-ASSOCIATE-RQ") from error


def _supported(asked: list[PresentationContext], *, storage: bool) -> list[PresentationContext]:
    syntaxes: dict[str, dict[UID, None]] = {}
    for context in asked:
        uid = str(context.abstract_syntax)
        if uid in (VERIFICATION, COMMITMENT):
            syntaxes[uid] = dict.fromkeys(PLAIN)
        elif storage and is_storage(uid):
            syntaxes.setdefault(uid, {}).update(dict.fromkeys(context.transfer_syntax))
    supported = [build_context(UID(uid), list(some)) for uid, some in syntaxes.items() if some]
    for context in supported:
        if context.abstract_syntax == COMMITMENT:
            # It calls as the provider and reports to us, the user (PS3.4 J.3.3); one that proposes no role may as well.
            context.scu_role, context.scp_role = False, True
    return supported


def _agreed(results: list[PresentationContext]) -> dict[int, Agreed]:
    return {
        int(context.context_id or 0): Agreed(str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in results
        if context.result == 0
    }


def _acceptance(primitive: A_ASSOCIATE, results: list[PresentationContext], answers: list[Any]) -> bytes:
    primitive.presentation_context_definition_results_list = results
    primitive.user_information = [*pdu.who_we_are(), *answers]
    primitive.result, primitive.result_source = 0, 1
    unit = A_ASSOCIATE_AC()
    unit.from_primitive(primitive)
    return unit.encode()


def reject(numbers: tuple[int, int, int]) -> bytes:
    """An A-ASSOCIATE-RJ."""
    return pdu.HEADER.pack(pdu.ASSOCIATE_RJ, 4) + bytes((0, *numbers))
