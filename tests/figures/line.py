"""A lean HTTP client for loopback: bodies go from a file to the socket, so that it is in no measurement's way."""

import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from typing import Any

from tests.figures.processes import RunFailed

SECONDS = 900  # without one octet either way
PIECE = 64 * 1024  # bytes between two looks at the pace
Span = tuple[int, int, int]  # descriptor, offset, size
Headers = Mapping[str, str]


class Pace:
    """A line of so many bytes per second, shared by all who send over it."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, octets: int) -> None:
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + octets / self._rate
        time.sleep(max(0.0, self._free_at - now))


class Line:
    """One connection that stays open; not for several threads at once."""

    def __init__(self, port: int, *, headers: Headers | None = None, pace: Pace | None = None) -> None:
        self._own = {"Host": f"127.0.0.1:{port}", **(headers or {})}
        self._pace = pace
        self.location = ""  # of the last answer
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # a Python time-out would make os.sendfile a non-blocking call
        for way in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, way, struct.pack("ll", SECONDS, 0))

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, body: Any = None, *, headers: Headers | None = None) -> Any:
        """A small question and its answer, both JSON."""
        octets = b"" if body is None else json.dumps(body).encode()
        own = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        self._head(method, path, len(octets), own)
        self._socket.sendall(octets)
        return self._answer(method, path)

    def send(self, method: str, path: str, span: Span, *, headers: Headers | None = None) -> Any:
        """The span of a file as body; what is answered as JSON, None where that is empty."""
        self._head(method, path, span[2], headers or {})
        self._body(span)
        return self._answer(method, path)

    def _head(self, method: str, path: str, length: int, headers: Headers) -> None:
        fields = {**self._own, **headers, "Content-Length": str(length)}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode(), socket.MSG_MORE if length else 0)

    def _body(self, span: Span) -> None:
        descriptor, offset, left = span
        while left:
            piece = left if self._pace is None else min(left, PIECE)
            if self._pace is not None:
                self._pace.take(piece)
            sent = os.sendfile(self._socket.fileno(), descriptor, offset, piece)
            if not sent:
                raise RunFailed("the file ends before its body does")
            offset, left = offset + sent, left - sent

    def _answer(self, method: str, path: str) -> Any:
        answer = HTTPResponse(self._socket, method=method)
        answer.begin()
        octets = answer.read()
        self.location = answer.headers.get("Location", "")
        if not 200 <= answer.status < 300:
            raise RunFailed(f"{method} {path}: {answer.status} {octets[:300]!r}")
        return json.loads(octets) if "json" in (answer.headers.get("Content-Type") or "") and octets else None


def over_lines(
    port: int,
    jobs: Sequence[Callable[[Line], Any]],
    *,
    connections: int,
    headers: Headers | None = None,
    pace: Pace | None = None,
) -> list[Any]:
    """Does the jobs over so many connections; what each answered, in no order. The first trouble ends it."""
    waiting = deque(jobs)

    def work() -> list[Any]:
        done: list[Any] = []
        with Line(port, headers=headers, pace=pace) as line:
            while True:
                try:
                    job = waiting.popleft()
                except IndexError:
                    return done
                done.append(job(line))

    with ThreadPoolExecutor(connections) as pool:
        workers = [pool.submit(work) for _ in range(connections)]
        try:
            return [one for worker in workers for one in worker.result()]
        except BaseException:
            waiting.clear()
            raise
