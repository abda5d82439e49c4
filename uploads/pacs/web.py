"""HTTP/1.1 to a DICOMweb service over our own wire, so that no answer, however slow, holds a worker for ever."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import h11

from uploads.pacs.address import WEB_PORTS, WebPeer
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, PeerError
from uploads.pacs.outcomes import Kind
from uploads.pacs.security import Basic, Credentials
from uploads.pacs.wire import Octets, Wire, connect

MOST_HEADER = 16_384
AT_ONCE = 65_536
LAST_WORD_SECONDS = 1.0
INTERRUPTION_SECONDS = 0.1

Due = Callable[[int], Deadline]
"""When the next octets are due, given how many of the body have come."""


@dataclass(frozen=True, slots=True)
class Head:
    """The status and the headers of an answer, their names in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; a `body` longer than the cap is cut there."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Link:
    """One connection to a DICOMweb service: opened when it is needed and kept from request to request.

    Follows no redirect and reads no proxy from the environment. Raises PeerError: PeerUnreachable, PeerTimeout, or
    AssociationAborted where the connection is lost or what comes is no HTTP. RFC 9110, RFC 9112.
    """

    def __init__(self, peer: WebPeer, deadlines: Deadlines) -> None:
        self._peer = peer
        self._deadlines = deadlines
        self._wire: Wire | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._heard = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(reset=error is not None)

    def close(self, *, reset: bool = False) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close(reset=reset)

    def cut(self) -> None:
        """For another thread: what this link waits for fails."""
        wire = self._wire
        if wire is not None:
            wire.cut()

    def get(self, target: str, *, accept: str, due: Due, most: int) -> Answer:
        """GET into memory, at most `most` octets of it."""
        head = self.ask(target, accept=accept, due=due)
        return Answer(head.status, head.headers, self._capped(due, most))

    def ask(self, target: str, *, accept: str, due: Due) -> Head:
        """GET; `body` then yields what follows. Asked once more where a kept connection turns out to be closed."""
        request = self._request("GET", target, {"Accept": accept})
        kept = self._begin(request, due(0))
        try:
            return self._head(due)
        except AssociationAborted:
            if not kept or self._heard:
                raise
        self._begin(request, due(0))
        return self._head(due)

    def post(
        self,
        target: str,
        headers: Mapping[str, str],
        parts: Iterable[list[Octets]],
        *,
        length: int,
        deadline: Deadline,
        most: int,
    ) -> Answer:
        """POST what `parts` yields, which must come to `length` octets.

        Nothing but the head of the request is ever sent twice. An answer that comes early ends the sending.
        """

        def due(_: int) -> Deadline:
            return deadline

        self._begin(self._request("POST", target, {**headers, "Content-Length": str(length)}), deadline)
        head = self._send_body(parts, length, deadline) or self._head(due)
        return Answer(head.status, head.headers, self._capped(due, most))

    def body(self, due: Due) -> Iterator[bytes]:
        """What follows the head that was read last; once it is read to the end, the connection is kept."""
        received = 0
        while True:
            event = self._event(due(received))
            if isinstance(event, h11.Data):
                received += len(event.data)
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()

    def _capped(self, due: Due, most: int) -> bytes:
        taken = bytearray()
        for octets in self.body(due):
            taken += octets[: most - len(taken)]
            if len(taken) == most:
                break
        return bytes(taken)

    def _request(self, method: str, target: str, headers: Mapping[str, str]) -> h11.Request:
        try:
            ours = {"Host": self._host(), "User-Agent": "RelayPACS"} | _authorization(self._peer.credentials)
            return h11.Request(method=method, target=target, headers=[*ours.items(), *headers.items()])
        except (h11.LocalProtocolError, UnicodeError):
            # Both errors quote what they do not like, and that may be the password.
            detail = "The user name, password or token has characters that HTTP cannot carry."
            raise PeerError("credentials_malformed", detail, Kind.PAUSE) from None

    def _host(self) -> str:
        host = f"[{self._peer.host}]" if ":" in self._peer.host else self._peer.host
        usual = WEB_PORTS["https" if self._peer.tls else "http"]
        return host if self._peer.port == usual else f"{host}:{self._peer.port}"

    def _begin(self, request: h11.Request, deadline: Deadline) -> bool:
        """Send the head of a request; true where it went over a kept connection, false where over a fresh one."""
        if self._wire is not None and self._http.our_state is h11.IDLE and not self._wire.has_input():
            try:
                self._send_head(self._wire, request, deadline)
                return True
            except AssociationAborted:
                pass
        self.close(reset=True)
        self._wire = connect(self._peer.host, self._peer.port, self._deadlines, tls=self._peer.tls)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEADER)
        self._send_head(self._wire, request, deadline)
        return False

    def _send_head(self, wire: Wire, request: h11.Request, deadline: Deadline) -> None:
        self._heard = False
        octets = self._passed(request)
        if request.method == b"GET":
            octets += self._passed(h11.EndOfMessage())
        wire.send(octets, deadline)

    def _passed(self, event: h11.Event) -> list[Octets]:
        """The event as octets; those of Data are the caller's own, not a copy."""
        return cast(list[Octets], self._http.send_with_data_passthrough(event) or [])

    def _send_body(self, parts: Iterable[list[Octets]], left: int, deadline: Deadline) -> Head | None:
        """Send all of it; or as much as the peer wants, and then the head of what it answered in the middle."""
        wire = self._open()
        for pieces in parts:
            octets = [one for piece in pieces for one in self._passed(h11.Data(data=cast(bytes, piece)))]
            try:
                wire.send(octets, deadline)
            except PeerError:
                head = self._said_already(LAST_WORD_SECONDS)
                if head is None:
                    raise
                return head
            left -= sum(map(len, pieces))
            if left and wire.has_input() and (head := self._said_already(INTERRUPTION_SECONDS)):
                return head
        self._passed(h11.EndOfMessage())
        return None

    def _said_already(self, seconds: float) -> Head | None:
        last = Deadline.after(seconds)
        try:
            return self._head(lambda _: last)
        except PeerError:
            return None

    def _head(self, due: Due) -> Head:
        deadline = due(0)
        while True:
            event = self._event(deadline)
            if isinstance(event, h11.Response):
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                return Head(event.status_code, headers)

    def _event(self, deadline: Deadline) -> h11.Event:
        """What the peer says next."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:  # it quotes the peer, and that may be patient data
                raise self._no_http() from None
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise self._no_http()
            if event is not h11.NEED_DATA:
                return cast(h11.Event, event)
            self._http.receive_data(self._received(deadline))

    def _received(self, deadline: Deadline) -> bytes:
        octets = self._open().receive_some(AT_ONCE, deadline)
        if not octets and not self._heard:
            raise AssociationAborted("connection_lost", "The PACS closed the connection without an answer.")
        self._heard = True
        return octets

    def _no_http(self) -> AssociationAborted:
        if self._http.trailing_data[1]:
            return AssociationAborted("connection_lost", "The PACS closed the connection in the middle.")
        return AssociationAborted("protocol_error", "The PACS sent octets that are no HTTP.")

    def _open(self) -> Wire:
        if self._wire is None:
            raise AssociationAborted("connection_lost", "The connection is closed.")
        return self._wire


def _authorization(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None:
        return {}
    if isinstance(credentials, Basic):
        pair = f"{credentials.user}:{credentials.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
    return {"Authorization": f"Bearer {credentials.token}"}
