"""The wire keeps its promises over TLS, whatever a server does; the servers are raw sockets in threads."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from tests.certificates import HOST, server_context
from tests.loopback import LOOPBACK, free_port, listening, require, wait_until
from tests.peers import silent_listener
from tests.uploads.pacs.listeners import AUTHORITY, DICOM_ABORT, TLS, answering, saying, soon
from tests.uploads.pacs.packs import QUICK, unhung
from uploads.pacs.deadlines import Deadline
from uploads.pacs.errors import AssociationAborted, PeerError, PeerTimeout, TlsFailed
from uploads.pacs.outcomes import Kind
from uploads.pacs.security import Tls
from uploads.pacs.wire import Wire, connect

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@contextmanager
def secured(
    answer: Callable[[ssl.SSLSocket], None], *, version: ssl.TLSVersion = TLS_1_3, tls: Tls = TLS
) -> Iterator[Wire]:
    """A wire to a TLS server that does what `answer` says."""
    context = server_context(AUTHORITY.server, version=version)

    def shake(caller: socket.socket) -> None:
        with context.wrap_socket(caller, server_side=True) as link:
            answer(link)

    with answering(shake) as port:
        wire = connect(LOOPBACK, port, QUICK, tls=tls)
        try:
            yield wire
        finally:
            wire.close()


@pytest.mark.parametrize("tls", [TLS, replace(TLS, server_name=HOST), Tls(ca=AUTHORITY.server.pem)])
def test_names_addresses_and_the_certificate_itself_are_trusted(tls: Tls) -> None:
    with secured(saying(b"hello"), tls=tls) as wire:
        assert wire.receive(5, soon()) == b"hello"
        ends_at = wire.peer_certificate_ends_at
    assert ends_at == AUTHORITY.server.certificate.not_valid_after_utc
    assert ends_at is not None
    assert ends_at.tzinfo is UTC


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_all_parts_arrive_in_order(version: ssl.TLSVersion) -> None:
    parts = [b"\1" * 12, memoryview(b"\2" * 300_000), b"", b"\3" * 12, memoryview(b"\4" * 131_060), b"\5" * 700_001]
    wanted = b"".join(parts)

    def echo(link: ssl.SSLSocket) -> None:
        taken = bytearray()
        while len(taken) < len(wanted):
            taken += link.recv(1 << 16)
        link.sendall(taken)
        link.recv(1)

    with secured(echo, version=version) as wire:
        wire.send(parts, soon())
        assert wire.receive(100, soon()) == wanted[:100]
        assert wire.has_input()
        assert wire.receive(len(wanted) - 100, soon()) == wanted[100:]
        assert not wire.has_input()


def test_session_tickets_are_no_input_but_octets_inside_openssl_are() -> None:
    told = threading.Event()

    def two_words(link: ssl.SSLSocket) -> None:
        told.wait(10)
        link.sendall(b"abcdef")
        while link.recv(100):
            pass

    with secured(two_words) as wire:
        wire.send([b"x" * 10], soon())
        for _ in range(20):
            assert not wire.has_input()
            threading.Event().wait(0.01)
        told.set()
        wait_until(wire.has_input, "input")
        assert wire.has_input()
        assert wire.receive(2, soon()) == b"ab"
        assert wire.has_input()
        assert wire.receive(4, soon()) == b"cdef"
        assert not wire.has_input()


def test_a_key_update_is_no_input_and_is_answered(tmp_path: Path) -> None:
    require("openssl")
    certificate, key = AUTHORITY.server.files(tmp_path)
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"{LOOPBACK}:{port}", "-cert", str(certificate), "-key", str(key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            wait_until(lambda: listening(port), "openssl")
            wire = connect(LOOPBACK, port, QUICK, tls=TLS)
            os.write(server.stdin.fileno(), b"K\n")
            for _ in range(20):
                assert not wire.has_input()
                threading.Event().wait(0.01)
            os.write(server.stdin.fileno(), b"after it\n")
            assert wire.receive(9, soon()) == b"after it\n"
            wire.send([b"our answer\n"], soon())
            wire.close()
            wait_until(lambda: b"our answer" in server.stdout.readline(), "our answer at openssl")  # type: ignore[union-attr]
        finally:
            server.kill()


def test_an_end_that_is_said_differs_from_one_that_may_have_been_cut() -> None:
    def farewell(link: ssl.SSLSocket) -> None:
        link.sendall(b"abc")
        link.unwrap()

    with secured(farewell) as wire:
        assert wire.receive(3, soon()) == b"abc"
        wait_until(wire.has_input, "the end")
        assert wire.receive(1, soon()) == b""
    with secured(lambda link: link.sendall(b"abc")) as wire:
        assert wire.receive(3, soon()) == b"abc"
        for _ in range(2):
            with pytest.raises(AssociationAborted) as error:
                wire.receive(1, soon())
            assert error.value.code == "connection_lost"
        assert wire.has_input()


@pytest.mark.parametrize("said", [False, True])
def test_an_end_in_the_middle_is_a_lost_connection(said: bool) -> None:
    def half(link: ssl.SSLSocket) -> None:
        link.sendall(b"abc")
        if said:
            link.unwrap()

    with secured(half) as wire, pytest.raises(AssociationAborted) as error:
        wire.receive(6, soon())
    assert error.value.code == "connection_lost"


def test_a_forged_record_is_trouble() -> None:
    def forge(link: ssl.SSLSocket) -> None:
        socket.socket.send(link, b"\x17\x03\x03\x00\x20" + bytes(32))
        link.recv(1)

    with secured(forge) as wire, pytest.raises(TlsFailed) as error:
        wire.receive(1, soon())
    assert (error.value.code, error.value.kind, error.value.bounded) == ("tls_failed", Kind.RETRY, True)


@pytest.mark.parametrize("interval", [30.0, 0.05])
def test_a_server_that_stops_or_nearly_stops_reading_is_left_in_time(interval: float) -> None:
    ended = threading.Event()

    def hardly_read(link: ssl.SSLSocket) -> None:
        while not ended.wait(interval):
            link.recv(1)

    with secured(hardly_read) as wire:
        errors: list[PeerError] = []

        def run() -> None:
            with pytest.raises(PeerTimeout) as error:
                wire.send([bytes(32_000_000)], Deadline.after(2))
            errors.append(error.value)

        unhung(run)
        assert errors[0].code == "peer_stopped_reading"
        wire.offer(b"a last word that cannot be read any more")
        wire.close(reset=True)
        ended.set()


def test_a_server_that_drips_records_is_left_in_time() -> None:
    ended = threading.Event()

    def drip(link: ssl.SSLSocket) -> None:
        while not ended.wait(0.05):
            link.sendall(b"a")

    with secured(drip) as wire:
        with pytest.raises(PeerTimeout):
            wire.receive(1_000, Deadline.after(1))
        ended.set()


def test_our_last_word_and_our_farewell_arrive() -> None:
    heard: list[bytes] = []

    def hear(link: ssl.SSLSocket) -> None:
        link.settimeout(10)
        while octets := link.read(100):
            heard.append(octets)
        heard.append(b"farewell")

    context = server_context(AUTHORITY.server)
    with answering(
        lambda caller: hear(context.wrap_socket(caller, server_side=True, suppress_ragged_eofs=False))
    ) as port:
        wire = connect(LOOPBACK, port, QUICK, tls=TLS)
        wire.offer(DICOM_ABORT)
        wire.close()
    assert heard == [DICOM_ABORT, b"farewell"]


def test_a_plain_wire_has_no_certificate() -> None:
    with silent_listener() as port:
        wire = connect(LOOPBACK, port, QUICK)
        assert wire.peer_certificate_ends_at is None
        wire.close()
