"""A handshake ends in time, and one that fails says who can mend it; the servers are raw sockets in threads."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from dataclasses import replace

import pytest

from tests.certificates import Authority, Pair, server_context
from tests.loopback import LOOPBACK
from tests.peers import silent_listener
from tests.uploads.pacs.listeners import AUTHORITY, DICOM_ABORT, TLS, answering, saying, soon
from tests.uploads.pacs.packs import QUICK, unhung
from uploads.pacs.errors import PeerError, PeerTimeout, TlsFailed
from uploads.pacs.outcomes import Kind
from uploads.pacs.security import Tls
from uploads.pacs.wire import Wire, connect

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
RESET = struct.pack("ii", 1, 0)


def failure(port: int, tls: Tls = TLS) -> PeerError:
    """What comes of connecting, which must come soon."""
    met: list[PeerError] = []

    def run() -> None:
        with pytest.raises(PeerError) as error:
            connect(LOOPBACK, port, QUICK, tls=tls)
        met.append(error.value)

    unhung(run)
    return met[0]


def trouble_in_reading(context: ssl.SSLContext, tls: Tls) -> PeerError:
    """What comes of connecting and, where that went well, of waiting for an answer."""

    def shake(caller: socket.socket) -> None:
        with context.wrap_socket(caller, server_side=True) as link:
            link.recv(1)

    with answering(shake) as port, pytest.raises(PeerError) as error:
        ask(port, tls)
    return error.value


def ask(port: int, tls: Tls) -> None:
    wire = connect(LOOPBACK, port, QUICK, tls=tls)
    try:
        wire.send([b"a"], soon())
        wire.receive(1, soon())
    finally:
        wire.close()


def test_a_listener_that_never_shakes_hands_is_left_in_time() -> None:
    with silent_listener() as port:
        trouble = failure(port)
    assert isinstance(trouble, PeerTimeout)
    assert (trouble.code, trouble.kind) == ("peer_silent", Kind.RETRY)


def test_a_handshake_that_drips_is_left_in_time() -> None:
    ended = threading.Event()

    def drip(caller: socket.socket) -> None:
        for octet in b"\x16\x03\x03\x02\x00" + bytes(200):
            caller.sendall(bytes([octet]))
            if ended.wait(0.1):
                return

    with answering(drip) as port:
        trouble = failure(port)
        ended.set()
    assert isinstance(trouble, PeerTimeout)


@pytest.mark.parametrize("text", [b"HTTP/1.1 400 Bad Request\r\n\r\n", DICOM_ABORT, b"hello, who is there?\r\n"])
def test_plain_text_is_no_tls(text: bytes) -> None:
    with answering(saying(text)) as port:
        trouble = failure(port)
    assert (type(trouble), trouble.code, trouble.kind) == (TlsFailed, "tls_not_spoken", Kind.PAUSE)


@pytest.mark.parametrize("reset", [False, True])
def test_a_server_that_hangs_up_may_be_restarting_but_not_for_ever(reset: bool) -> None:
    def hang_up(caller: socket.socket) -> None:
        caller.recv(10_000)
        if reset:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with answering(hang_up) as port:
        trouble = failure(port)
    assert (type(trouble), trouble.code) == (TlsFailed, "tls_hung_up")
    assert (trouble.kind, trouble.bounded) == (Kind.RETRY, True)


def test_a_server_of_the_last_century_speaks_no_tls_of_ours() -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context = server_context(AUTHORITY.server, version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    trouble = trouble_in_reading(context, TLS)
    assert (trouble.code, trouble.kind) == ("tls_not_spoken", Kind.PAUSE)


def test_a_server_without_a_suite_of_ours_speaks_no_tls_of_ours() -> None:
    context = server_context(AUTHORITY.server, version=TLS_1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    ours = {row["name"] for row in ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()}
    assert "ECDHE-ECDSA-AES128-SHA" not in ours
    trouble = trouble_in_reading(context, TLS)
    assert (trouble.code, trouble.kind) == ("tls_not_spoken", Kind.PAUSE)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_server_that_wants_a_certificate_says_so_to_whom_has_none(version: ssl.TLSVersion) -> None:
    context = server_context(AUTHORITY.server, clients=AUTHORITY, version=version)
    trouble = trouble_in_reading(context, TLS)
    assert (type(trouble), trouble.code, trouble.kind) == (TlsFailed, "tls_certificate_wanted", Kind.PAUSE)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_server_that_refuses_our_certificate_says_so(version: ssl.TLSVersion) -> None:
    stranger = Authority("Somebody").client
    context = server_context(AUTHORITY.server, clients=AUTHORITY, version=version)
    trouble = trouble_in_reading(context, replace(TLS, certificate=stranger.pem, key=stranger.key))
    assert (type(trouble), trouble.code, trouble.kind) == (TlsFailed, "tls_certificate_refused", Kind.PAUSE)
    expired = AUTHORITY.expired
    trouble = trouble_in_reading(context, replace(TLS, certificate=expired.pem, key=expired.key))
    assert (trouble.code, trouble.kind) == ("tls_certificate_refused", Kind.PAUSE)


def test_a_refusal_is_told_even_where_our_sending_meets_the_broken_connection_first() -> None:
    refused = threading.Event()
    context = server_context(AUTHORITY.server, clients=AUTHORITY)

    def refuse(caller: socket.socket) -> None:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(caller, server_side=True)
        caller.close()
        refused.set()

    with answering(refuse) as port:
        wire = connect(LOOPBACK, port, QUICK, tls=TLS)
        assert refused.wait(10)
        with pytest.raises(TlsFailed) as error:
            keep_sending(wire)
        wire.close()
    assert error.value.code == "tls_certificate_wanted"


def keep_sending(wire: Wire) -> None:
    for _ in range(50):
        wire.send([b"a"], soon())
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("server", "tls", "code"),
    [
        (AUTHORITY.expired, TLS, "tls_expired"),
        (AUTHORITY.of_another_name, TLS, "tls_name_mismatch"),
        (AUTHORITY.server, replace(TLS, server_name="other.example"), "tls_name_mismatch"),
        (AUTHORITY.server, Tls(ca=Authority().pem), "tls_untrusted"),
        (AUTHORITY.server, Tls(), "tls_untrusted"),
    ],
)
def test_a_certificate_we_cannot_trust_is_refused_with_its_reason(server: Pair, tls: Tls, code: str) -> None:
    trouble = trouble_in_reading(server_context(server), tls)
    assert (type(trouble), trouble.code, trouble.kind) == (TlsFailed, code, Kind.PAUSE)


def test_material_that_cannot_be_used_is_told_before_anything_is_sent() -> None:
    called: list[socket.socket] = []
    with answering(called.append) as port:
        trouble = failure(port, replace(TLS, certificate=AUTHORITY.client.pem, key="geheim"))
    assert (trouble.code, trouble.kind, called) == ("tls_misconfigured", Kind.PAUSE, [])
    assert "geheim" not in f"{trouble!r} {trouble.detail} {trouble.__cause__!r}"
