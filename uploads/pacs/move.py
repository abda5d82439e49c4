"""C-MOVE at image level: the PACS is asked to send instances to our own listener."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import ImplicitVRLittleEndian

from uploads.pacs import command
from uploads.pacs.address import Peer
from uploads.pacs.association import Association
from uploads.pacs.conversation import Message
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import MoveUnsupported, PeerError
from uploads.pacs.fetched import Wanted
from uploads.pacs.find import STUDY_ROOT_FIND
from uploads.pacs.get import by_series
from uploads.pacs.identifier import image_query
from uploads.pacs.outcomes import Kind

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
DEFAULT_DEADLINES = Deadlines()

SUCCESS = 0x0000
SOME_FAILED = 0xB000
PENDING = (0xFF00, 0xFF01)
DESTINATION_UNKNOWN = 0xA801
OUT_OF_RESOURCES = (0xA701, 0xA702, 0xFE00)
NOT_SUPPORTED = (0x0112, 0x0122, 0x0211)
MOST_ANSWERS = 10_000


@dataclass(frozen=True, slots=True)
class MoveResult:
    """The peer's count of what it sent. What really came, the listener knows."""

    completed: int
    failed: int
    warning: int


def move(
    peer: Peer, wanted: Sequence[Wanted], *, destination_ae: str, deadlines: Deadlines = DEFAULT_DEADLINES
) -> MoveResult:
    """Have `peer` send `wanted` to `destination_ae`, by Study Root C-MOVE (PS3.4 C.4.2).

    Raises MoveUnsupported where the peer offers no C-MOVE, PeerError `move_destination_unknown` (PAUSE) where its
    configuration does not tell it where `destination_ae` is, and other PeerErrors, one of them where it refused and
    sent nothing at all; what it refused by itself counts as failed.
    """
    # Some peers frown on a C-MOVE context without its C-FIND (dcmqrscp says so in its log).
    proposals = [(uid, (str(ImplicitVRLittleEndian),)) for uid in (STUDY_ROOT_MOVE, STUDY_ROOT_FIND)]
    with Association(peer, proposals, deadlines) as association:
        if association.answers[0].result != 0:
            raise MoveUnsupported("move_unsupported", "The PACS offers no C-MOVE (Study Root).")
        mover = _Mover(association, destination_ae)
        for study, series, instances in by_series(wanted):
            mover.move(study, series, instances)
    if mover.refusal is not None and not (mover.total.completed or mover.total.warning):
        raise mover.refusal
    return mover.total


class _Mover:
    """The requests of one association, and what they add up to."""

    def __init__(self, association: Association, destination_ae: str) -> None:
        title = destination_ae.encode("ascii")
        self._association = association
        self._destination = title + b" " * (len(title) % 2)
        self._message_id = 0
        self.total = MoveResult(0, 0, 0)
        self.refusal: PeerError | None = None

    def move(self, study: str, series: str, instances: list[str]) -> None:
        answer = self._ask(image_query(study, series, instances, bare=True))
        counts = [answer.number(element) or 0 for element in (command.COMPLETED, command.FAILED, command.WARNING)]
        refusal = _refusal(answer.status)
        if refusal is not None and len(instances) > 1 and not sum(counts):
            for instance in instances:  # as for C-GET: one that it lacks spoils the list
                self.move(study, series, [instance])
            return
        if refusal is not None:
            self.refusal = refusal
            counts[1] = len(instances) - counts[0] - counts[2]
        before = (self.total.completed, self.total.failed, self.total.warning)
        self.total = MoveResult(*(old + new for old, new in zip(before, counts, strict=True)))

    def _ask(self, query: bytes) -> Message:
        """One request; its last answer."""
        self._message_id = self._message_id % 0xFFFF + 1
        request: dict[int, command.Value] = {
            command.AFFECTED_SOP_CLASS: STUDY_ROOT_MOVE,
            command.COMMAND_FIELD: command.C_MOVE_RQ,
            command.MESSAGE_ID: self._message_id,
            command.MOVE_DESTINATION: self._destination,
            command.PRIORITY: command.MEDIUM,
            command.DATA_SET_TYPE: command.WITH_DATA_SET,
        }
        association = self._association
        deadline = Deadline.after(association.deadlines.answer)
        association.request(association.answers[0].context_id, request, query, deadline)
        for _ in range(MOST_ANSWERS):
            # Between two answers a peer may send a large instance, and many give no answer before the last one.
            pause = Deadline.after(association.deadlines.find)
            answer = association.answer(command.C_MOVE_RSP, message_id=self._message_id, deadline=pause)
            if answer.status not in PENDING:
                return answer
        raise PeerError("move_endless", "The PACS does not stop answering.", bounded=True)


def _refusal(status: int | None) -> PeerError | None:
    if status in (SUCCESS, SOME_FAILED):
        return None
    if status == DESTINATION_UNKNOWN:
        sentence = "The PACS does not know where to send images for us (A801): our AE title must be entered there."
        raise PeerError("move_destination_unknown", sentence, Kind.PAUSE)
    if status in NOT_SUPPORTED:
        raise MoveUnsupported("move_unsupported", "The PACS does not support C-MOVE (Study Root).")
    if status in OUT_OF_RESOURCES:
        return PeerError("move_out_of_resources", f"The PACS cannot send images just now ({status:04X}).")
    return PeerError("move_failed", f"The PACS refuses to send images ({status:04X}).", bounded=True)
