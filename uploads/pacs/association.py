"""One association as requestor: opened, used for requests and their answers, and released or aborted in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from uploads.pacs import command, pdu
from uploads.pacs.address import Peer
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, PeerError, PeerTimeout, rejection
from uploads.pacs.pdu import Acceptance, Proposal
from uploads.pacs.wire import Octets, Wire, connect

MOST_FRAGMENT = 1 << 20
"""What we put into one P-DATA-TF where the peer sets no limit."""
LONGEST_MESSAGE = 1 << 20
DCMTK = "1.2.276.0.7230010.3."
"""The root of dcmtk's implementation class UIDs, Orthanc's among them: it aborts on a fragment of odd length."""


@dataclass(frozen=True, slots=True)
class Message:
    """One DIMSE message from the peer: its command set, and the data set octets where one came with it."""

    elements: dict[int, bytes]
    data_set: bytes | None

    @property
    def status(self) -> int | None:
        return command.number(self.elements, command.STATUS)


class Association:
    """Use as a context manager: leaving in peace releases the association, leaving by an exception aborts it."""

    def __init__(self, peer: Peer, proposals: Sequence[Proposal], deadlines: Deadlines) -> None:
        """Connect and negotiate; raise PeerUnreachable, PeerTimeout, TlsFailed, or what the peer refused by."""
        self.deadlines = deadlines
        self._whole_units_sent = True
        self._wire: Wire = connect(peer.host, peer.port, deadlines, tls=peer.tls)
        try:
            accepted = self._negotiate(peer, proposals)
            self.answers = accepted.answers
            self.fragment = self._fragment(accepted.longest)
            self.even_only = accepted.implementation.startswith(DCMTK)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
        else:
            self.abort()

    def _negotiate(self, peer: Peer, proposals: Sequence[Proposal]) -> Acceptance:
        deadline = Deadline.after(self.deadlines.negotiate)
        contexts = pdu.proposed(proposals)
        self._wire.send([pdu.associate_request(peer, contexts)], deadline)
        kind, body = self._unit(deadline)
        if kind == pdu.ASSOCIATE_RJ and len(body) >= 4:
            raise rejection(result=body[1], source=body[2], reason=body[3])
        if kind != pdu.ASSOCIATE_AC:
            raise self._unexpected(kind, body)
        return pdu.associate_accepted(pdu.HEADER.pack(kind, len(body)) + body, contexts)

    def _fragment(self, longest: int) -> int:
        """Octets of data per P-DATA-TF: the peer's limit less the six of the item header, even (PS3.8 D.1.1)."""
        if longest and longest < 8:
            raise pdu.garbled("maximum length")
        return min(longest - 6, MOST_FRAGMENT) & ~1 if longest else MOST_FRAGMENT

    def send(self, parts: Sequence[Octets], deadline: Deadline) -> None:
        """Send whole P-DATA-TF units; where the peer has aborted meanwhile, say so instead of a lost connection."""
        self._whole_units_sent = False
        try:
            self._wire.send(parts, deadline)
        except PeerError as trouble:
            raise self._last_word() or trouble from None
        self._whole_units_sent = True

    def request(
        self, context_id: int, elements: dict[int, int | str], data_set: bytes | None, deadline: Deadline
    ) -> None:
        """Send one request with a data set short enough to be held in memory."""
        parts = list(self.fragments(context_id, pdu.COMMAND, command.encode(elements)))
        if data_set is not None:
            parts += self.fragments(context_id, 0, data_set)
        self.send(parts, deadline)

    def fragments(self, context_id: int, control: int, octets: bytes) -> Iterable[Octets]:
        """`octets` as [header, slice, header, slice ...] of one command or data set."""
        view = memoryview(octets)
        for start in range(0, len(view), self.fragment):
            piece = view[start : start + self.fragment]
            last = pdu.LAST if start + len(piece) == len(view) else 0
            yield pdu.data_header(context_id, control | last, len(piece))
            yield piece

    def answer(self, expected: int, *, message_id: int, deadline: Deadline) -> Message:
        """The peer's next message, which must be the `expected` answer to our request `message_id`."""
        message = self._message(deadline)
        field = self._number(message, command.COMMAND_FIELD)
        answered = self._number(message, command.MESSAGE_ID_ANSWERED)
        if field != expected or answered != message_id or self._number(message, command.STATUS) is None:
            raise AssociationAborted("answer_mismatch", "The PACS answered something that was not asked.")
        return message

    def _number(self, message: Message, element: int) -> int | None:
        try:
            return command.number(message.elements, element)
        except command.CommandError as error:
            raise pdu.garbled("command set") from error

    def _message(self, deadline: Deadline) -> Message:
        gathered = {pdu.COMMAND: bytearray(), 0: bytearray()}
        elements: dict[int, bytes] | None = None
        while True:
            kind, body = self._unit(deadline)
            if kind != pdu.P_DATA:
                raise self._unexpected(kind, body)
            for _, control, octets in pdu.values(body):
                gathered[control & pdu.COMMAND] += octets
                if sum(map(len, gathered.values())) > LONGEST_MESSAGE:
                    raise pdu.garbled("message too long")
                if control & pdu.LAST and control & pdu.COMMAND:
                    elements = self._elements(bytes(gathered[pdu.COMMAND]))
                    if self._without_data_set(elements):
                        return Message(elements, None)
                elif control & pdu.LAST and elements is not None:
                    return Message(elements, bytes(gathered[0]))

    def _elements(self, octets: bytes) -> dict[int, bytes]:
        try:
            return command.decode(octets)
        except command.CommandError as error:
            raise pdu.garbled("command set") from error

    def _without_data_set(self, elements: dict[int, bytes]) -> bool:
        return self._number(Message(elements, None), command.DATA_SET_TYPE) in (command.NO_DATA_SET, None)

    def _unit(self, deadline: Deadline) -> tuple[int, bytes]:
        """Type and body of the next PDU. Its length is believed only up to a cap, its time only up to the deadline."""
        header = self._wire.receive(pdu.HEADER.size, deadline)
        if not header:
            raise AssociationAborted("connection_lost", "The PACS closed the connection.")
        kind, length = pdu.HEADER.unpack(header)
        if not pdu.ASSOCIATE_RQ <= kind <= pdu.ABORT:
            raise pdu.garbled("PDU type")
        if length > pdu.LONGEST_INCOMING:
            raise pdu.garbled("PDU length")
        body = self._wire.receive(length, deadline) if length else b""
        if len(body) < length:
            raise AssociationAborted("connection_lost", "The PACS closed the connection in the middle.")
        return kind, body

    def _unexpected(self, kind: int, body: bytes) -> AssociationAborted:
        if kind == pdu.ABORT:
            source, reason = (body[2], body[3]) if len(body) >= 4 else (0, 0)
            return AssociationAborted(
                "peer_aborted", f"The PACS aborted the association [source {source}, reason {reason}]."
            )
        if kind == pdu.RELEASE_RQ:
            self._wire.offer(pdu.RELEASE_REPLY)
            return AssociationAborted("peer_released", "The PACS ended the association before all was sent.")
        return pdu.garbled(f"PDU type {kind} out of turn")

    def _last_word(self) -> AssociationAborted | None:
        """An A-ABORT that came before the connection broke, if there is one to be read without waiting."""
        if not self._wire.has_input():
            return None
        try:
            kind, body = self._unit(Deadline.after(0.2))
        except PeerError:
            return None
        return self._unexpected(kind, body) if kind in (pdu.ABORT, pdu.RELEASE_RQ) else None

    def check_alive(self) -> None:
        """Raise where the peer has aborted, released or closed since its last answer; before anything is sent."""
        if self._wire.has_input():
            kind, body = self._unit(Deadline.after(self.deadlines.release))
            raise self._unexpected(kind, body)

    def release(self) -> None:
        """A-RELEASE, then close. All answers are in, so trouble now is nobody's."""
        deadline = Deadline.after(self.deadlines.release)
        try:
            self._wire.send([pdu.RELEASE_REQUEST], deadline)
            kind, _ = self._unit(deadline)
            while kind == pdu.P_DATA:
                kind, _ = self._unit(deadline)
        except (AssociationAborted, PeerTimeout):
            pass
        finally:
            self._wire.close()

    def cut(self) -> None:
        """End the connection from another thread: whatever waits on it fails at once."""
        self._wire.cut()

    def abort(self) -> None:
        """A-ABORT where it can be said between two PDUs, else a reset: a peer must never take half a PDU for whole."""
        if self._whole_units_sent:
            self._wire.offer(pdu.ABORT_BY_USER)
        self._wire.close(reset=not self._whole_units_sent)
