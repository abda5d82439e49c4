"""Storage commitment: the PACS is asked to say that it will keep what it was sent, and its report is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydicom.uid import ImplicitVRLittleEndian

from uploads.pacs import command, report
from uploads.pacs.address import Peer
from uploads.pacs.association import Association, answering
from uploads.pacs.conversation import Conversation, Message
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, CommitmentUnsupported, PeerError, PeerTimeout
from uploads.pacs.report import FAILURES, Failure, Meaning, Reference, Report, failure

COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known instance that every request and report is about (PS3.4 J.3.5)."""
REQUEST_COMMITMENT = 1
DEFAULT_DEADLINES = Deadlines()

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT = 0x0113
INVALID_ARGUMENT = 0x0115
RESOURCE_LIMITATION = 0x0213
NOT_SUPPORTED = (0x0112, 0x0118, 0x0122, 0x0123, 0x0211)
MOST_REPORTS = 100
"""Reports on one association before our answer has come: a PACS may bring others that it owes us, not without end."""

LOOK_SECONDS = 0.25


def _never() -> bool:
    return False


Keep = Callable[[Report], bool]
"""Writes a report down; False where its transaction is not known."""


def ask(
    peer: Peer,
    transaction_uid: str,
    references: Sequence[Reference],
    *,
    wait: float = 5.0,
    keep: Keep | None = None,
    arrived: Callable[[], bool] = _never,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> Report | None:
    """Ask `peer` to commit to `references` (PS3.4 J.3.2), and wait up to `wait` seconds for its report.

    None: it has accepted, and will report over an association of its own. Write the transaction down before: the
    report may come before this returns. `keep` is given each report before it is answered, so that one that could
    not be written down comes again; without it a report of another transaction is answered with "failed", for the
    PACS to bring it to our listener. `arrived` tells that it came in elsewhere: then nobody waits here. Raises
    CommitmentUnsupported where the peer offers no storage commitment, and other PeerErrors.
    """
    with Association(peer, [(COMMITMENT, (ImplicitVRLittleEndian,))], deadlines) as association:
        if association.answers[0].result != 0:
            raise _unsupported()
        asking = _Asking(association, transaction_uid, keep)
        asking.ask(references)
        return asking.report or asking.await_report(wait, arrived)


class _Asking:
    """One request on its association, and whatever reports come meanwhile."""

    def __init__(self, association: Association, transaction_uid: str, keep: Keep | None) -> None:
        self._association = association
        self._transaction = transaction_uid
        self._keep = keep
        self.report: Report | None = None

    def ask(self, references: Sequence[Reference]) -> None:
        deadline = Deadline.after(self._association.deadlines.answer)
        request: dict[int, command.Value] = {
            command.REQUESTED_SOP_CLASS: COMMITMENT,
            command.COMMAND_FIELD: command.N_ACTION_RQ,
            command.MESSAGE_ID: 1,
            command.DATA_SET_TYPE: command.WITH_DATA_SET,
            command.REQUESTED_SOP_INSTANCE: COMMITMENT_INSTANCE,
            command.ACTION_TYPE: REQUEST_COMMITMENT,
        }
        context_id = self._association.answers[0].context_id
        self._association.request(context_id, request, report.wanted(self._transaction, references), deadline)
        for _ in range(MOST_REPORTS):
            message = self._association.message(deadline, longest=report.LONGEST_REPORT)
            if message.field != command.N_EVENT_REPORT_RQ:
                _judge(answering(message, command.N_ACTION_RSP, 1).status)
                return
            self._receive(message)  # it overtook the answer to our request
        raise PeerError("commitment_endless", "The PACS reports and does not answer.", bounded=True)

    def await_report(self, wait: float, arrived: Callable[[], bool]) -> Report | None:
        """The request is accepted: whatever becomes of this association, the report may still come over another."""
        until = Deadline.after(wait)
        try:
            while self.report is None and not until.passed():
                if self._association.awaits_input(min(LOOK_SECONDS, until.left())):
                    self._receive(self._association.message(until, longest=report.LONGEST_REPORT))
                elif arrived():
                    return None
        except PeerTimeout:
            return None
        except AssociationAborted:
            self._association.close()
        return self.report

    def _receive(self, message: Message) -> None:
        if message.field != command.N_EVENT_REPORT_RQ:
            raise AssociationAborted("answer_mismatch", "The PACS answered something that was not asked.")
        self.report = receive(self._association, message, implicit=True, judge=self._status) or self.report

    def _status(self, found: Report) -> int:
        if self._keep is not None:
            return kept(found, self._keep)
        return SUCCESS if found.transaction_uid == self._transaction else PROCESSING_FAILURE


def _judge(status: int | None) -> None:
    if status == SUCCESS:
        return
    if status in NOT_SUPPORTED:
        raise _unsupported()
    if status == RESOURCE_LIMITATION:
        raise PeerError("commitment_out_of_resources", "The PACS cannot take a commitment request just now (0213).")
    raise PeerError("commitment_refused", f"The PACS refuses the commitment request ({status:04X}).", bounded=True)


def _unsupported() -> CommitmentUnsupported:
    return CommitmentUnsupported("commitment_unsupported", "The PACS offers no storage commitment.")


def receive(
    conversation: Conversation, message: Message, *, implicit: bool, judge: Callable[[Report], int]
) -> Report | None:
    """Answer one N-EVENT-REPORT-RQ with the status that `judge` gives its report; the report where that is Success.

    Every report is answered, also one that cannot be read: a PACS that gets no answer may stop reporting at all.
    """
    found: Report | None = None
    status = NO_SUCH_EVENT
    if message.number(command.EVENT_TYPE) in (report.ALL_COMMITTED, report.FAILURES_EXIST):
        try:
            found = report.read(message.data_set or b"", implicit=implicit)
            status = judge(found)
        except AssociationAborted:
            status = INVALID_ARGUMENT
    conversation.reply(message, status, Deadline.after(conversation.deadlines.answer))
    return found if status == SUCCESS else None


def kept(found: Report, keep: Keep) -> int:
    """The status for a report: Success once it is written down, also where it was before."""
    return SUCCESS if keep(found) else NO_SUCH_INSTANCE


__all__ = [
    "FAILURES",
    "CommitmentUnsupported",
    "Failure",
    "Keep",
    "Meaning",
    "Reference",
    "Report",
    "ask",
    "failure",
]
