"""DIMSE messages both ways over one connection, whoever opened it: every length believed up to a cap, no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from uploads.pacs import command, pdu
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, PeerError
from uploads.pacs.wire import Octets, Wire

MOST_FRAGMENT = 1 << 20
"""What we put into one P-DATA-TF where the peer sets no limit."""
LONGEST_MESSAGE = 1 << 20
LONGEST_STREAM = 8 << 30
"""Octets of one data set that streams by; the largest instances known have 2 GB."""


@dataclass(frozen=True, slots=True)
class Message:
    """One DIMSE message from the peer: its command set, and the data set octets where some came and were kept."""

    elements: dict[int, bytes]
    data_set: bytes | None
    context_id: int = 0

    @property
    def status(self) -> int | None:
        return self.number(command.STATUS)

    @property
    def field(self) -> int | None:
        return self.number(command.COMMAND_FIELD)

    def number(self, element: int) -> int | None:
        """A US value of the command set; AssociationAborted where it is none."""
        try:
            return command.number(self.elements, element)
        except command.CommandError as error:
            raise pdu.garbled("command set") from error

    def text(self, element: int) -> str:
        return command.text(self.elements, element)


class Sink(Protocol):
    """Where a data set goes that is too large to be held."""

    def feed(self, octets: Octets, /) -> None: ...


Sinks = Callable[[Message], Sink | None]
"""Of a message whose data set is still to come: where that goes, or None to have it in the message."""


def _held(_: Message) -> None:
    return None


class Conversation:
    """Two application entities talking; `fragment` is how many octets go into one P-DATA-TF."""

    def __init__(self, wire: Wire, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self.fragment = MOST_FRAGMENT
        self._wire = wire
        self._whole_units_sent = True
        self._values: Iterator[tuple[int, int, bytes]] = iter(())

    def agree_on(self, longest: int) -> None:
        """The peer's limit for a P-DATA-TF (0: none), less the six octets of the item header, even (PS3.8 D.1.1)."""
        if longest and longest < 8:
            raise pdu.garbled("maximum length")
        self.fragment = min(longest - 6, MOST_FRAGMENT) & ~1 if longest else MOST_FRAGMENT

    def send(self, parts: Sequence[Octets], deadline: Deadline) -> None:
        """Send whole units; where the peer has aborted meanwhile, say so instead of a lost connection."""
        self._whole_units_sent = False
        try:
            self._wire.send(parts, deadline)
        except PeerError as trouble:
            raise self._last_word() or trouble from None
        self._whole_units_sent = True

    def request(
        self, context_id: int, elements: Mapping[int, command.Value], data_set: bytes | None, deadline: Deadline
    ) -> None:
        """Send one message with a data set short enough to be held in memory."""
        parts = list(self.fragments(context_id, pdu.COMMAND, command.encode(elements)))
        if data_set is not None:
            parts += self.fragments(context_id, 0, data_set)
        self.send(parts, deadline)

    def reply(self, asked: Message, status: int, deadline: Deadline) -> None:
        """Answer a request that carries no data set back, under the names that it bore (PS3.7 9.3, 10.3)."""
        names = (command.AFFECTED_SOP_CLASS, command.AFFECTED_SOP_INSTANCE, command.EVENT_TYPE)
        answer: dict[int, command.Value] = {name: asked.elements[name] for name in names if name in asked.elements}
        answer |= {
            command.COMMAND_FIELD: command.ANSWER | (asked.field or 0),
            command.MESSAGE_ID_ANSWERED: asked.number(command.MESSAGE_ID) or 0,
            command.DATA_SET_TYPE: command.NO_DATA_SET,
            command.STATUS: status,
        }
        self.request(asked.context_id, answer, None, deadline)

    def fragments(self, context_id: int, control: int, octets: bytes) -> Iterable[Octets]:
        """`octets` as [header, slice, header, slice ...] of one command or data set."""
        view = memoryview(octets)
        for start in range(0, len(view), self.fragment):
            piece = view[start : start + self.fragment]
            last = pdu.LAST if start + len(piece) == len(view) else 0
            yield pdu.data_header(context_id, control | last, len(piece))
            yield piece

    def message(self, deadline: Deadline, *, sinks: Sinks = _held, longest: int = LONGEST_MESSAGE) -> Message:
        """The peer's next message. What is held of it has at most `longest` octets; what streams earns its time."""
        gathering = _Gathering(sinks, longest)
        while True:
            for context_id, control, octets in self._values:
                message = gathering.take(context_id, control, octets)
                if message is not None:
                    return message
            kind, body = self.unit(deadline)
            if kind != pdu.P_DATA:
                raise self.unexpected(kind, body)
            self._values = pdu.values(body)
            if gathering.sink is not None:
                deadline = deadline.later(self.deadlines.seconds_for(len(body)))

    def unit(self, deadline: Deadline, *, longest: int = pdu.LONGEST_INCOMING) -> tuple[int, bytes]:
        """Type and body of the next PDU. Its length is believed only up to a cap, its time only up to the deadline."""
        header = self._wire.receive(pdu.HEADER.size, deadline)
        if not header:
            raise AssociationAborted("connection_lost", "The PACS closed the connection.")
        kind, length = pdu.HEADER.unpack(header)
        if not pdu.ASSOCIATE_RQ <= kind <= pdu.ABORT:
            raise pdu.garbled("PDU type")
        if length > longest:
            raise pdu.garbled("PDU length")
        body = self._wire.receive(length, deadline) if length else b""
        if len(body) < length:
            raise AssociationAborted("connection_lost", "The PACS closed the connection in the middle.")
        return kind, body

    def unexpected(self, kind: int, body: bytes) -> AssociationAborted:
        """What a unit means that came where another was due; a release is answered."""
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
            kind, body = self.unit(Deadline.after(0.2))
        except PeerError:
            return None
        return self.unexpected(kind, body) if kind in (pdu.ABORT, pdu.RELEASE_RQ) else None

    def close(self) -> None:
        self._wire.close()

    def abort(self) -> None:
        """A-ABORT where it can be said between two PDUs, else a reset: a peer must never take half a PDU for whole."""
        if self._whole_units_sent:
            self._wire.offer(pdu.ABORT_BY_USER)
        self._wire.close(reset=not self._whole_units_sent)


class _Gathering:
    """One message on its way in, fragment by fragment (PS3.8 Annex E)."""

    def __init__(self, sinks: Sinks, longest: int) -> None:
        self._sinks = sinks
        self._longest = longest
        self._held = bytearray()
        self._message: Message | None = None
        self._streamed = 0
        self.sink: Sink | None = None

    def take(self, context_id: int, control: int, octets: bytes) -> Message | None:
        """Add a fragment; the message, once it is whole."""
        if bool(control & pdu.COMMAND) == (self._message is not None):
            raise pdu.garbled("command and data set out of turn")
        if self.sink is None:
            self._hold(octets)
        else:
            self._stream(self.sink, octets)
        if not control & pdu.LAST:
            return None
        if self._message is None:
            return self._begin(context_id)
        return self._message if self.sink is not None else replace(self._message, data_set=bytes(self._held))

    def _hold(self, octets: bytes) -> None:
        self._held += octets
        if len(self._held) > self._longest:
            raise pdu.garbled("message too long")

    def _stream(self, sink: Sink, octets: bytes) -> None:
        sink.feed(octets)
        self._streamed += len(octets)
        if self._streamed > LONGEST_STREAM:
            raise pdu.garbled("data set too long")

    def _begin(self, context_id: int) -> Message | None:
        """The command set is whole: either all is said, or it is settled where the data set goes."""
        try:
            message = Message(command.decode(bytes(self._held)), None, context_id)
        except command.CommandError as error:
            raise pdu.garbled("command set") from error
        if message.number(command.DATA_SET_TYPE) in (command.NO_DATA_SET, None):
            return message
        self._held.clear()
        self._message = message
        self.sink = self._sinks(message)
        return None
