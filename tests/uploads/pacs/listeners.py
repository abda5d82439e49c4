"""Raw servers for the wire over TLS: each in a thread, for one caller."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.certificates import Authority
from tests.loopback import LOOPBACK
from uploads.pacs.deadlines import Deadline
from uploads.pacs.security import Tls

AUTHORITY = Authority()
TLS = Tls(ca=AUTHORITY.pem)
DICOM_ABORT = b"\7\0\0\0\0\4\0\0\2\0"


def soon() -> Deadline:
    return Deadline.after(10)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose one caller is handed to `answer` in a thread; yields the port."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def run() -> None:
            try:
                caller, _ = listener.accept()
                with caller:
                    answer(caller)
            except OSError:
                return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(15)
            assert not thread.is_alive()


def saying(octets: bytes) -> Callable[[socket.socket], None]:
    """A server that says this, and then listens until the caller has hung up."""

    def say(link: socket.socket) -> None:
        link.sendall(octets)
        while link.recv(10_000):
            pass

    return say
