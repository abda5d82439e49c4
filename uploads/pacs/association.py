"""One association as requestor: opened, used for requests and their answers, and released or aborted in the end."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from uploads.pacs import command, pdu
from uploads.pacs.address import Peer
from uploads.pacs.conversation import Conversation, Message
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, PeerTimeout, rejection
from uploads.pacs.pdu import Acceptance, Proposal
from uploads.pacs.wire import connect

LOOK_SECONDS = 0.02
DCMTK = "1.2.276.0.7230010.3."
"""The root of dcmtk's implementation class UIDs, Orthanc's among them: it aborts on a fragment of odd length."""


class Association(Conversation):
    """Use as a context manager: leaving in peace releases the association, leaving by an exception aborts it."""

    def __init__(
        self, peer: Peer, proposals: Sequence[Proposal], deadlines: Deadlines, *, as_scp: Collection[str] = ()
    ) -> None:
        """Connect and negotiate; raise PeerUnreachable, PeerTimeout, TlsFailed, or what the peer refused by.

        `as_scp`: the SOP classes whose instances the peer is to send us over this association.
        """
        super().__init__(connect(peer.host, peer.port, deadlines, tls=peer.tls), deadlines)
        try:
            accepted = self._negotiate(peer, proposals, as_scp)
            self.answers = accepted.answers
            self.agree_on(accepted.longest)
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

    @property
    def peer_certificate_ends_at(self) -> datetime | None:
        """When the certificate of the PACS expires (UTC); None without TLS."""
        return self._wire.peer_certificate_ends_at

    def _negotiate(self, peer: Peer, proposals: Sequence[Proposal], as_scp: Collection[str]) -> Acceptance:
        deadline = Deadline.after(self.deadlines.negotiate)
        contexts = pdu.proposed(proposals)
        self._wire.send([pdu.associate_request(peer, contexts, as_scp=as_scp)], deadline)
        kind, body = self.unit(deadline)
        if kind == pdu.ASSOCIATE_RJ and len(body) >= 4:
            raise rejection(result=body[1], source=body[2], reason=body[3])
        if kind != pdu.ASSOCIATE_AC:
            raise self.unexpected(kind, body)
        return pdu.associate_accepted(pdu.HEADER.pack(kind, len(body)) + body, contexts)

    def answer(self, expected: int, *, message_id: int, deadline: Deadline) -> Message:
        """The peer's next message, which must be the `expected` answer to our request `message_id`."""
        return answering(self.message(deadline), expected, message_id)

    def check_alive(self) -> None:
        """Raise where the peer has aborted, released or closed since its last answer; before anything is sent."""
        if self._wire.has_input():
            kind, body = self.unit(Deadline.after(self.deadlines.release))
            raise self.unexpected(kind, body)

    def awaits_input(self, seconds: float) -> bool:
        """Whether the peer says something within so many seconds."""
        until = Deadline.after(seconds)
        while not self._wire.has_input():
            if until.passed():
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def release(self) -> None:
        """A-RELEASE, then close. All answers are in, so trouble now is nobody's."""
        deadline = Deadline.after(self.deadlines.release)
        try:
            self._wire.send([pdu.RELEASE_REQUEST], deadline)
            kind, _ = self.unit(deadline)
            while kind == pdu.P_DATA:
                kind, _ = self.unit(deadline)
        except (AssociationAborted, PeerTimeout):
            pass
        finally:
            self._wire.close()

    def cut(self) -> None:
        """End the connection from another thread: whatever waits on it fails at once."""
        self._wire.cut()


def answering(message: Message, expected: int, message_id: int) -> Message:
    """`message`, where it is the `expected` answer to our request `message_id`; else AssociationAborted."""
    answered = message.number(command.MESSAGE_ID_ANSWERED)
    if message.field != expected or answered != message_id or message.status is None:
        raise AssociationAborted("answer_mismatch", "The PACS answered something that was not asked.")
    return message
