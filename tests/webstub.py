"""A DICOMweb service of plain sockets that answers, or misbehaves, exactly as the test says."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO

import pydicom

from tests.loopback import LOOPBACK, data_set_of


@dataclass(frozen=True)
class Request:
    """One request as it came; `headers` have names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def parts(self) -> list[bytes]:
        """The files in a multipart body, cut with none of the code that made it."""
        found = re.search(r"boundary=([^;]+)", self.headers["content-type"])
        assert found is not None
        delimiter = b"--" + found[1].encode()
        start, *parts, end = self.body.split(delimiter)
        assert (start, end) == (b"", b"--\r\n")
        return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts]

    def uids(self) -> list[str]:
        """The SOP Instance UIDs of the files, from their file meta."""
        files = [pydicom.dcmread(BytesIO(part), stop_before_pixels=True) for part in self.parts()]
        return [str(file.file_meta.MediaStorageSOPInstanceUID) for file in files]

    def data_sets(self) -> list[bytes]:
        return [data_set_of(part) for part in self.parts()]


Answers = Callable[[Request], bytes | None]
Misdeeds = Callable[[socket.socket, Request, threading.Event], bool | None]
"""True: this one is to be served as usual."""


@dataclass
class Stub:
    """`requests` are those that were read to their end, `connections` all that were taken."""

    port: int
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    heads: list[Request] = field(default_factory=list)
    taken: int = 0
    """Octets of bodies read."""
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def web_stub(
    answer: Answers,
    *,
    instead: Misdeeds | None = None,
    tls: ssl.SSLContext | None = None,
    keep_bodies: bool = True,
) -> Iterator[Stub]:
    """Answer each request with what `answer` makes of it; None: hang up. Bodies may be thrown away while they come.

    `instead` of reading the body and answering does what it likes with the connection, which is closed after it.
    """
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        stub = Stub(listener.getsockname()[1])
        server = _Server(stub, answer, instead, tls, keep_bodies)
        accepting = threading.Thread(target=server.accept, args=(listener,), daemon=True)
        accepting.start()
        try:
            yield stub
        finally:
            stub.ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *server.threads):
                thread.join(5)


@dataclass
class _Server:
    stub: Stub
    answer: Answers
    instead: Misdeeds | None
    tls: ssl.SSLContext | None
    keep_bodies: bool
    threads: list[threading.Thread] = field(default_factory=list)

    def accept(self, listener: socket.socket) -> None:
        while not self.stub.ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.stub.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(30)
        try:
            with self.tls.wrap_socket(plain, server_side=True) if self.tls else plain as connection:
                while (head := _head(connection)) and self._answered(connection, *head):
                    pass
        except OSError:
            return

    def _answered(self, connection: socket.socket, request: Request, begun: bytes) -> bool:
        self.stub.heads.append(request)
        if self.instead is not None and not self.instead(connection, request, self.stub.ended):
            return False
        body = self._body(connection, int(request.headers.get("content-length", "0")), begun)
        whole = Request(request.method, request.target, request.headers, body)
        self.stub.requests.append(whole)
        octets = self.answer(whole)
        connection.sendall(octets or b"")
        return octets is not None

    def _body(self, connection: socket.socket, length: int, begun: bytes) -> bytes:
        taken, count = bytearray(begun), len(begun)
        while count < length:
            more = connection.recv(min(1 << 17, length - count))
            if not more:
                raise OSError("the client hung up")
            count += len(more)
            taken += more if self.keep_bodies else b""
        self.stub.taken += count
        return bytes(taken)


def _head(connection: socket.socket) -> tuple[Request, bytes] | None:
    octets = b""
    while b"\r\n\r\n" not in octets:
        more = connection.recv(4096)
        if not more:
            return None
        octets += more
    head, body = octets.split(b"\r\n\r\n", 1)
    first, *lines = head.decode("ascii").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    return Request(method, target, headers, b""), body


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `retry_after="3"` becomes the header Retry-After."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + body


def stored_and_failed(
    stored: Sequence[str] = (),
    failed: Mapping[str, int | None] | None = None,
    *,
    warned: Mapping[str, int] | None = None,
) -> bytes:
    """The Store Instances Response Module as JSON: what is stored, stored with a reason, failed with a reason."""
    referenced = [_item(uid) for uid in stored] + [
        _item(uid, "00081196", reason) for uid, reason in (warned or {}).items()
    ]
    refused = [_item(uid, "00081197", reason) for uid, reason in (failed or {}).items()]
    return json.dumps(
        {"00081199": {"vr": "SQ", "Value": referenced}, "00081198": {"vr": "SQ", "Value": refused}}
    ).encode()


def _item(uid: str, tag: str = "", reason: int | None = None) -> dict[str, object]:
    item: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return item if reason is None else item | {tag: {"vr": "US", "Value": [reason]}}
