"""A line that breaks: a TCP proxy that cuts connections where a test wants them cut."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from tests.loopback import LOOPBACK

RESET = struct.pack("ii", 1, 0)


class Line:
    """Forwards to a port of this machine.

    `up` has for each coming connection the bytes after which it is cut on the way to the server; `mute` the numbers of
    answers to a PUT that are swallowed, with a cut, after the server has given them. `pace` is seconds for every read.
    """

    def __init__(self, port: int, *, up: tuple[int, ...] = (), mute: tuple[int, ...] = (), pace: float = 0.0) -> None:
        self._to, self._up, self._mute, self._pace = port, iter(up), set(mute), pace
        self._listener = socket.create_server((LOOPBACK, 0))
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.connections = self.cuts = self.answers = self.sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection((LOOPBACK, self._to))
                allowed = next(self._up, None)
                threading.Thread(target=self._forth, args=(near, far, allowed), daemon=True).start()
                threading.Thread(target=self._back, args=(near, far), daemon=True).start()

    def _forth(self, near: socket.socket, far: socket.socket, allowed: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                if allowed is not None and len(data) >= allowed:
                    far.sendall(data[:allowed])
                    self._cut(near, far)
                    return
                allowed = None if allowed is None else allowed - len(data)
                self.sent += len(data)
                time.sleep(self._pace)
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    def _back(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if data.startswith(b"HTTP/1.1 204") and self._swallowed():
                    self._cut(near, far)
                    return
                near.sendall(data)
            near.shutdown(socket.SHUT_WR)

    def _swallowed(self) -> bool:
        with self._lock:
            self.answers += 1
            return self.answers in self._mute

    def _cut(self, *ends: socket.socket) -> None:
        self.cuts += 1
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def line_to(port: int, *, up: tuple[int, ...] = (), mute: tuple[int, ...] = (), pace: float = 0.0) -> Iterator[Line]:
    line = Line(port, up=up, mute=mute, pace=pace)
    try:
        yield line
    finally:
        line.close()
