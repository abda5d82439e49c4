"""A TCP connection on which nothing can wait for ever: every send and every receive runs against a deadline."""

from __future__ import annotations

import errno
import ipaddress
import queue
import socket
import struct
import threading
from collections.abc import Sequence

from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import AssociationAborted, PeerError, PeerTimeout, PeerUnreachable

# The kernel gives up a blocked call after one tick, and the deadline is looked at: a peer that drips a byte a second
# keeps every single call alive, but not the deadline. (A Python time-out would make the socket non-blocking.)
TICK_SECONDS = 0.5
TICK = struct.pack("@ll", 0, int(TICK_SECONDS * 1_000_000))
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
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
            if deadline.passed():
                raise PeerTimeout("peer_silent", "The PACS did not answer before the deadline.")
            try:
                more = self._socket.recv(length - len(taken))
            except OSError as error:
                if error.errno not in NOT_NOW:
                    raise _lost(error) from error
                continue
            if not more and taken:
                raise AssociationAborted("connection_lost", "The PACS closed the connection in the middle.")
            if not more:
                return b""
            taken += more
        self._acknowledge_at_once()
        return bytes(taken)

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


def connect(host: str, port: int, deadlines: Deadlines) -> Wire:
    """Connect to the first address of `host` that answers, all within `deadlines.connect` seconds."""
    deadline = Deadline.after(deadlines.connect)
    trouble: PeerError | None = None
    for family, address in _addresses(host, port, deadline):
        try:
            return Wire(_connected(family, address, deadline), stall=deadlines.stall)
        except TimeoutError:
            raise _no_answer_in_time() from None
        except OSError as error:
            trouble = _unreachable(error)
    raise trouble or PeerUnreachable("name_unknown", "The host name of the PACS has no address.")


Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


def _connected(family: int, address: Address, deadline: Deadline) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.settimeout(max(deadline.left(), 0.001))
        connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _addresses(host: str, port: int, deadline: Deadline) -> list[tuple[int, Address]]:
    """The resolver has no time-out of ours, so names are looked up by a thread that may be left behind."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _looked_up(host, port, deadline)
    return [(family, address) for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _looked_up(host: str, port: int, deadline: Deadline) -> list[tuple[int, Address]]:
    found: queue.SimpleQueue[list[tuple[int, Address]]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answers = []
        found.put([(family, address) for family, *_, address in answers])

    threading.Thread(target=look_up, name="resolver", daemon=True).start()
    try:
        return found.get(timeout=max(deadline.left(), 0.001))
    except queue.Empty:
        raise PeerUnreachable("name_timeout", "The host name of the PACS could not be looked up in time.") from None


def _no_answer_in_time() -> PeerUnreachable:
    return PeerUnreachable("connect_timeout", "The PACS did not take the connection in time.")


def _unreachable(error: OSError) -> PeerUnreachable:
    if error.errno == errno.ECONNREFUSED:
        return PeerUnreachable("connection_refused", "Nothing listens at the address of the PACS.")
    name = errno.errorcode.get(error.errno or 0, "error")
    return PeerUnreachable("host_unreachable", f"The PACS cannot be reached ({name}).")
