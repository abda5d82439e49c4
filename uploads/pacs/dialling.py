"""A name and a port become a connected socket, against a deadline."""

from __future__ import annotations

import errno
import ipaddress
import queue
import socket
import threading

from uploads.pacs.deadlines import Deadline
from uploads.pacs.errors import PeerError, PeerUnreachable

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


def dial(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address of `host` that answers; raise PeerUnreachable."""
    trouble: PeerError | None = None
    for family, address in _addresses(host, port, deadline):
        try:
            return _connected(family, address, deadline)
        except TimeoutError:
            raise _no_answer_in_time() from None
        except OSError as error:
            trouble = _unreachable(error)
    raise trouble or PeerUnreachable("name_unknown", "The host name of the PACS has no address.")


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
