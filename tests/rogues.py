"""Raw-socket peers that misbehave on purpose, each in one way."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from tests.loopback import LOOPBACK


@contextmanager
def silent_listener() -> Iterator[int]:
    """A port that takes connections and never says a word; yields the port."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


@dataclass
class Rogue:
    """A peer in a thread that misbehaves in one way; `seen` holds the octets it read, as far as it reads."""

    port: int
    interval: float
    ended: threading.Event = field(default_factory=threading.Event)
    seen: bytearray = field(default_factory=bytearray)
    ae: str = "ROGUE"

    def drip(self, connection: socket.socket, octets: bytes) -> None:
        for octet in octets:
            if self.ended.wait(self.interval):
                return
            connection.sendall(bytes([octet]))

    def drip_and_read(self, connection: socket.socket, octets: bytes) -> None:
        connection.setblocking(False)
        for octet in octets:
            if self.ended.wait(self.interval):
                return
            self._read_what_is_there(connection)
            connection.send(bytes([octet]))

    def _read_what_is_there(self, connection: socket.socket) -> None:
        try:
            while more := connection.recv(1 << 20):
                self.seen += more
        except BlockingIOError:
            return

    def read_slowly(self, connection: socket.socket) -> None:
        while not self.ended.wait(self.interval):
            connection.recv(1)


GIANT = struct.pack(">BxI", 4, 0xFFFFFFFF)
GIANT_ACCEPTANCE = struct.pack(">BxI", 2, 0xFFFFFFFF)
A_ABORT = struct.pack(">BxI", 7, 4) + b"\0\0\2\0"
A_RELEASE_RQ = struct.pack(">BxI", 5, 4) + bytes(4)
GARBAGE = b"HTTP/1.1 400 Bad Request\r\nServer: nobody\r\n\r\n"
GARBLED_ACCEPTANCE = struct.pack(">BxI", 2, 200) + b"\x21" * 200
LONG_ANSWER = struct.pack(">BxIIBB", 4, 2000, 1996, 1, 3) + bytes(1994)

INSTEAD_OF_ACCEPTANCE = {
    "drips_acceptance",
    "giant_acceptance",
    "garbage",
    "garbled_acceptance",
    "aborts_request",
    "hangs_up",
}
AFTER_ACCEPTANCE = {
    "stops_reading",
    "reads_slowly",
    "drips_answer",
    "giant_answer",
    "garbage_answer",
    "aborts",
    "releases",
}
HANGS_UP_AFTERWARDS = {"hangs_up", "garbage", "aborts", "aborts_request"}


def _read_unit(connection: socket.socket) -> bytes:
    header = connection.recv(6, socket.MSG_WAITALL)
    return header + connection.recv(struct.unpack(">BxI", header)[1], socket.MSG_WAITALL)


def acceptance(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC that accepts every context of this A-ASSOCIATE-RQ with its first syntax."""
    asked = A_ASSOCIATE_RQ()
    asked.decode(request)
    primitive = asked.to_primitive()
    results = list(primitive.presentation_context_definition_list)
    for context in results:
        context.result = 0
    primitive.presentation_context_definition_results_list = results
    primitive.result = 0
    primitive.result_source = 1
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    return answer.encode()


@contextmanager
def rogue_scp(mode: str, *, interval: float = 1.0) -> Iterator[Rogue]:
    """A raw-socket peer that misbehaves as `mode` says; what it drips or reads slowly, it does every `interval` s."""
    if mode not in INSTEAD_OF_ACCEPTANCE | AFTER_ACCEPTANCE:
        raise ValueError(f"no rogue does {mode}")
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        rogue = Rogue(listener.getsockname()[1], interval)
        thread = threading.Thread(target=_misbehave, args=(rogue, listener, mode), daemon=True)
        thread.start()
        try:
            yield rogue
        finally:
            rogue.ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _misbehave(rogue: Rogue, listener: socket.socket, mode: str) -> None:
    while not rogue.ended.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                _misbehave_once(rogue, connection, mode)
            except (OSError, struct.error):
                continue


def _misbehave_once(rogue: Rogue, link: socket.socket, mode: str) -> None:
    request = _read_unit(link)
    if mode in INSTEAD_OF_ACCEPTANCE:
        _misbehave_before_acceptance(rogue, link, mode, request)
    else:
        link.sendall(acceptance(request))
        _misbehave_after_acceptance(rogue, link, mode)
    if mode not in HANGS_UP_AFTERWARDS:
        rogue.ended.wait()


def _misbehave_before_acceptance(rogue: Rogue, link: socket.socket, mode: str, request: bytes) -> None:
    match mode:
        case "drips_acceptance":
            rogue.drip(link, acceptance(request))
        case "giant_acceptance":
            rogue.drip(link, GIANT_ACCEPTANCE + bytes(1000))
        case "garbage":
            link.sendall(GARBAGE)
        case "garbled_acceptance":
            link.sendall(GARBLED_ACCEPTANCE)
        case "aborts_request":
            link.sendall(A_ABORT)


def _misbehave_after_acceptance(rogue: Rogue, link: socket.socket, mode: str) -> None:
    match mode:
        case "reads_slowly":
            rogue.read_slowly(link)
        case "drips_answer":
            rogue.drip_and_read(link, LONG_ANSWER)
        case "giant_answer":
            rogue.drip_and_read(link, GIANT + bytes(1000))
        case "garbage_answer":
            link.sendall(GARBAGE)
        case "aborts":
            link.sendall(A_ABORT)
        case "releases":
            link.sendall(A_RELEASE_RQ)
