"""C-ECHO: is the PACS there, and does it know us?"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydicom.uid import ImplicitVRLittleEndian

from uploads.pacs import command
from uploads.pacs.address import Peer
from uploads.pacs.association import Association
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import PeerError
from uploads.pacs.outcomes import Kind

VERIFICATION = "1.2.840.10008.1.1"
DEFAULT_DEADLINES = Deadlines()


@dataclass(frozen=True, slots=True)
class Echo:
    """`ok`: the PACS answered Success. `detail` is a sentence; `code` and `kind` name the trouble, if any."""

    ok: bool
    milliseconds: float
    detail: str
    code: str = ""
    kind: Kind | None = None


def echo(peer: Peer, *, deadlines: Deadlines = DEFAULT_DEADLINES) -> Echo:
    """Open an association, C-ECHO, release (PS3.4 Annex A, PS3.7 9.1.5); trouble is an answer, not an exception."""
    began = time.monotonic()
    try:
        status = _status(peer, deadlines)
    except PeerError as trouble:
        return Echo(False, _since(began), trouble.detail, trouble.code, trouble.kind)
    if status is None:
        detail = "The PACS opened an association but offers no C-ECHO."
        return Echo(False, _since(began), detail, "echo_unsupported", Kind.PAUSE)
    if status != 0:
        return Echo(False, _since(began), f"The PACS answered {status:04X}.", "echo_failed", Kind.RETRY)
    return Echo(True, _since(began), "The PACS answered.")


def _status(peer: Peer, deadlines: Deadlines) -> int | None:
    with Association(peer, [(VERIFICATION, (ImplicitVRLittleEndian,))], deadlines) as association:
        context = association.answers[0]
        if context.result != 0:
            return None
        deadline = Deadline.after(deadlines.echo)
        request: dict[int, int | str] = {
            command.AFFECTED_SOP_CLASS: VERIFICATION,
            command.COMMAND_FIELD: command.C_ECHO_RQ,
            command.MESSAGE_ID: 1,
            command.DATA_SET_TYPE: command.NO_DATA_SET,
        }
        association.request(context.context_id, request, None, deadline)
        return association.answer(command.C_ECHO_RSP, message_id=1, deadline=deadline).status


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000
