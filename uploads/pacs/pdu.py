"""Protocol data units: what an association says besides data, through pynetdicom's codec (PS3.8 section 9.3)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_requestor

from uploads.pacs.address import Peer
from uploads.pacs.errors import AssociationAborted

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
HEADER = struct.Struct(">BxI")
DATA_HEADER = struct.Struct(">BxIIBB")
"""P-DATA-TF with one presentation data value: PDU type and length, item length, context id, control byte."""
ITEM_HEADER = struct.Struct(">IBB")

COMMAND, LAST = 0x01, 0x02
MOST_CONTEXTS = 128
"""Context ids are the odd numbers from 1 to 255 (PS3.8 9.3.2.2)."""
LENGTH_WE_TAKE = 65_536
LONGEST_INCOMING = 131_072
"""A peer that announces more is broken or hostile; nothing we ask for is longer."""
LONGEST_REQUEST = 1 << 19
"""An A-ASSOCIATE-RQ with 128 contexts of every known transfer syntax is shorter."""

RELEASE_REQUEST = HEADER.pack(RELEASE_RQ, 4) + bytes(4)
RELEASE_REPLY = HEADER.pack(RELEASE_RP, 4) + bytes(4)
ABORT_BY_USER = HEADER.pack(ABORT, 4) + bytes(4)

Proposal = tuple[str, tuple[str, ...]]
"""One presentation context to ask for: an abstract syntax and the transfer syntaxes it may use."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The acceptor's word on one proposal: result 0 is acceptance (PS3.8 Table 9-18).

    `as_scp`: it also agreed to send us what this context is for (PS3.7 D.3.3.4).
    """

    context_id: int
    result: int
    transfer_syntax: str
    as_scp: bool = False


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An A-ASSOCIATE-AC: `longest` is the longest P-DATA-TF the peer takes (0: any)."""

    answers: list[Answer]
    longest: int
    implementation: str


def garbled(what: str) -> AssociationAborted:
    return AssociationAborted("protocol_error", f"The PACS sent octets that are no DICOM ({what}).")


def associate_request(peer: Peer, contexts: list[PresentationContext], *, as_scp: Collection[str] = ()) -> bytes:
    """A-ASSOCIATE-RQ for at most 128 contexts (PS3.8 9.3.2); of the classes in `as_scp` we are the provider."""
    request = A_ASSOCIATE()
    request.application_context_name = UID(APPLICATION_CONTEXT_NAME)
    request.calling_ae_title = peer.calling_ae
    request.called_ae_title = peer.called_ae
    request.calling_presentation_address = None
    request.called_presentation_address = None
    request.presentation_context_definition_list = contexts
    request.user_information = [*who_we_are(), *(_role(uid) for uid in as_scp)]
    unit = A_ASSOCIATE_RQ()
    unit.from_primitive(request)
    return unit.encode()


def who_we_are() -> list[Any]:
    """The user information that either side of a negotiation gives of itself (PS3.7 D.3.3.1, D.3.3.2; PS3.8 D.1)."""
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = LENGTH_WE_TAKE
    implementation.implementation_class_uid = UID(PYNETDICOM_IMPLEMENTATION_UID)
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    return [length, implementation, version]


def _role(sop_class_uid: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = UID(sop_class_uid)
    role.scu_role, role.scp_role = False, True
    return role


def proposed(proposals: Sequence[Proposal]) -> list[PresentationContext]:
    """One context per proposal, with the ids 1, 3, 5 ..."""
    contexts = [build_context(UID(abstract), [UID(syntax) for syntax in syntaxes]) for abstract, syntaxes in proposals]
    for index, context in enumerate(contexts):
        context.context_id = 2 * index + 1
    return contexts


def associate_accepted(octets: bytes, contexts: list[PresentationContext]) -> Acceptance:
    """What the peer accepted; AssociationAborted where it is garbled."""
    try:
        unit = A_ASSOCIATE_AC()
        unit.decode(octets)
        accepted = unit.to_primitive()
        results = negotiate_as_requestor(contexts, accepted.presentation_context_definition_results_list)
        agreed = {
            str(item.sop_class_uid)
            for item in accepted.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.scp_role
        }
        return Acceptance(
            [_answer(context, agreed) for context in results],
            int(accepted.maximum_length_received or 0),
            str(accepted.implementation_class_uid or ""),
        )
    except Exception as error:  # whatever foreign octets do to the decoder, the association is unusable
        raise garbled("A-ASSOCIATE-AC") from error


def _answer(context: PresentationContext, agreed: Collection[str]) -> Answer:
    syntax = str(context.transfer_syntax[0]) if context.transfer_syntax else ""
    result = 2 if context.result is None else int(context.result)
    return Answer(int(context.context_id or 0), result, syntax, str(context.abstract_syntax) in agreed)


def data_header(context_id: int, control: int, length: int) -> bytes:
    """The 12 octets before `length` octets of command or data set in a P-DATA-TF of their own (PS3.8 9.3.5, E.2)."""
    return DATA_HEADER.pack(P_DATA, length + 6, length + 2, context_id, control)


def values(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(context id, control byte, octets) of each presentation data value in the body of a P-DATA-TF."""
    position = 0
    while position < len(body):
        if position + ITEM_HEADER.size > len(body):
            raise garbled("P-DATA-TF")
        length, context_id, control = ITEM_HEADER.unpack_from(body, position)
        end = position + 4 + length
        if length < 2 or end > len(body):
            raise garbled("P-DATA-TF")
        yield context_id, control, body[position + ITEM_HEADER.size : end]
        position = end
