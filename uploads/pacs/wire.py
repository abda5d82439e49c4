"""A TCP connection on which nothing can wait for ever: every send and every receive runs against a deadline."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.dialling import dial
from uploads.pacs.errors import AssociationAborted, PeerError, PeerTimeout, tls_hung_up
from uploads.pacs.records import Records
from uploads.pacs.security import Tls

# The kernel gives up a blocked call after one tick, and the deadline is looked at: a peer that drips a byte a second
# keeps every single call alive, but not the deadline. (A Python time-out would make the socket non-blocking.)
TICK_SECONDS = 0.5
TICK = struct.pack("@ll", 0, int(TICK_SECONDS * 1_000_000))
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
MOST_SEALED_AT_ONCE = 1 << 17
"""Measured: it stays in the processor's cache; sealing 1 MiB at a time, or a socket write per record, is slower."""
MOST_RECEIVED = 1 << 16
MOST_LOOKS = 8
"""A peer that floods us with tickets is not waited for."""
NOT_NOW = (errno.EAGAIN, errno.EWOULDBLOCK)

Octets = bytes | memoryview


class Wire:
    """One connected socket. Raises PeerTimeout or AssociationAborted; never a bare OSError."""

    def __init__(self, connected: socket.socket, *, stall: float) -> None:
        self._socket = connected
        self._stall = stall
        connected.settimeout(None)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TICK)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TICK)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acknowledge_at_once()

    def _acknowledge_at_once(self) -> None:
        """Many PACS answer in two small writes with Nagle on: the second waits 40 ms for our delayed ACK.

        TCP_QUICKACK is not sticky (tcp(7)), so it is set again after every send and every receive.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def send(self, parts: Sequence[Octets], deadline: Deadline) -> None:
        """Send all octets of `parts` (at most 1,000 of them) or raise."""
        waiting = list(parts)
        quiet = Deadline.after(self._stall)
        while waiting:
            try:
                sent = self._socket.sendmsg(waiting)
            except OSError as error:
                if error.errno not in NOT_NOW:
                    raise _lost(error) from error
                sent = 0
            if sent:
                waiting = _after(waiting, sent)
                quiet = Deadline.after(self._stall)
            if waiting and (deadline.passed() or quiet.passed()):
                raise PeerTimeout("peer_stopped_reading", "The PACS stopped taking data before the deadline.")
        self._acknowledge_at_once()

    def receive(self, length: int, deadline: Deadline) -> bytes:
        """Exactly `length` octets (b"" only where the peer closed before the first) or raise."""
        taken = bytearray()
        while len(taken) < length:
            more = self._some(length - len(taken), deadline)
            if not more and taken:
                raise AssociationAborted("connection_lost", "The PACS closed the connection in the middle.")
            if not more:
                return b""
            taken += more
        self._acknowledge_at_once()
        return bytes(taken)

    def receive_some(self, most: int, deadline: Deadline) -> bytes:
        """What is there, up to `most` octets, as soon as there is any; b"" where the peer closed; or raise."""
        octets = self._some(most, deadline)
        self._acknowledge_at_once()
        return octets

    def _some(self, most: int, deadline: Deadline) -> bytes:
        """At least one octet, at most `most`; b"" where the peer has closed."""
        while not deadline.passed():
            try:
                return self._socket.recv(most)
            except OSError as error:
                if error.errno not in NOT_NOW:
                    raise _lost(error) from error
        raise PeerTimeout("peer_silent", "The PACS did not answer before the deadline.")

    @property
    def peer_certificate_ends_at(self) -> datetime | None:
        """When the peer's certificate expires (UTC); None without TLS."""
        return None

    @property
    def secured_by(self) -> str:
        """The version of TLS and whose certificate was shown, in words; "" without TLS."""
        return ""

    def has_input(self) -> bool:
        """True where something (data, the end or an error) waits to be received; does not wait."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def offer(self, octets: bytes) -> None:
        """Send a last word if it can be sent without waiting; trouble is of no interest any more."""
        try:
            self._socket.send(octets, socket.MSG_DONTWAIT)
        except OSError:
            return

    def cut(self) -> None:
        """For another thread: what the owner waits for on this connection fails, and the owner closes it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self, *, reset: bool = False) -> None:
        """Close; `reset` throws away what the peer has not taken, so that no octet of it lingers in the kernel."""
        try:
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        except OSError:
            pass
        finally:
            self._socket.close()


class SecuredWire(Wire):
    """The same over TLS: what goes through the socket are records, against the same deadlines."""

    def __init__(self, connected: socket.socket, records: Records, *, stall: float) -> None:
        super().__init__(connected, stall=stall)
        self._records = records
        self._room = memoryview(bytearray(0))
        self._ahead = b""

    def shake_hands(self, deadline: Deadline) -> None:
        """The handshake (RFC 8446 2); raise TlsFailed or PeerTimeout."""
        try:
            while not self._records.shaken():
                self._send_records(deadline)
                self._records.take_in(super()._some(MOST_RECEIVED, deadline))
            self._send_records(deadline)
        except AssociationAborted as lost:
            raise tls_hung_up() from lost

    @property
    def peer_certificate_ends_at(self) -> datetime | None:
        end = self._records.peer_certificate_end
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC) if end else None

    @property
    def secured_by(self) -> str:
        return f"{self._records.version}, certificate of {self._records.peer_certificate_subject or 'nobody named'}"

    def send(self, parts: Sequence[Octets], deadline: Deadline) -> None:
        for octets in self._gathered(parts):
            self._records.seal(octets)
            self._send_records(deadline)

    def _gathered(self, parts: Sequence[Octets]) -> Iterator[memoryview]:
        """All of `parts` through one buffer, so that a header of twelve octets is no record of its own."""
        wanted = min(sum(map(len, parts)), MOST_SEALED_AT_ONCE)
        if len(self._room) < wanted:
            self._room = memoryview(bytearray(wanted))
        filled = 0
        for part in parts:
            rest = memoryview(part)
            while rest:
                piece = rest[: len(self._room) - filled]
                self._room[filled : filled + len(piece)] = piece
                filled, rest = filled + len(piece), rest[len(piece) :]
                if filled == len(self._room):
                    yield self._room
                    filled = 0
        if filled:
            yield self._room[:filled]

    def _send_records(self, deadline: Deadline) -> None:
        records = self._records.give_out()
        if not records:
            return
        try:
            super().send([records], deadline)
        except AssociationAborted as lost:
            raise self._alert() or lost from None

    def _alert(self) -> PeerError | None:
        """Why the peer broke the connection, where it said so before."""
        self.has_input()
        return self._records.trouble

    def _some(self, most: int, deadline: Deadline) -> bytes:
        if self._ahead:
            taken, self._ahead = self._ahead[:most], self._ahead[most:]
            return taken
        while (octets := self._records.open(most)) is None:
            self._records.take_in(super()._some(MOST_RECEIVED, deadline))
        self._send_records(deadline)
        return octets

    def has_input(self) -> bool:
        """Only octets of the peer's, its end or an error count: a session ticket or a key update is no input."""
        try:
            for _ in range(MOST_LOOKS):
                octets = self._ahead or self._records.open(1)
                if octets is not None:
                    self._ahead = octets
                    return True
                self._records.take_in(self._socket.recv(MOST_RECEIVED, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False
        except (OSError, PeerError):
            return True
        return False

    def offer(self, octets: bytes) -> None:
        """Where half a record went before, the peer can read neither: no octet of it passes for a whole one."""
        try:
            self._records.seal(octets)
        except PeerError:
            return
        super().offer(self._records.give_out())

    def close(self, *, reset: bool = False) -> None:
        if not reset:
            super().offer(self._records.farewell())
        super().close(reset=reset)


def _lost(error: OSError) -> PeerError:
    name = errno.errorcode.get(error.errno or 0, "error")
    return AssociationAborted("connection_lost", f"The connection to the PACS was lost ({name}).")


def _after(parts: list[Octets], sent: int) -> list[Octets]:
    """What remains of `parts` once the first `sent` octets are gone."""
    for index, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[index + 1 :]]
        sent -= len(part)
    return []


def connect(host: str, port: int, deadlines: Deadlines, *, tls: Tls | None = None) -> Wire:
    """Connect to the first address of `host` that answers, all within `deadlines.connect` seconds.

    With `tls` a TLS handshake follows, all within `deadlines.negotiate` seconds; it may raise TlsFailed.
    """
    if tls is None:
        return Wire(dial(host, port, Deadline.after(deadlines.connect)), stall=deadlines.stall)
    records = Records(tls, host)
    connected = dial(host, port, Deadline.after(deadlines.connect))
    wire = SecuredWire(connected, records, stall=deadlines.stall)
    try:
        wire.shake_hands(Deadline.after(deadlines.negotiate))
    except BaseException:
        wire.close()
        raise
    return wire
