"""What the DICOMweb tests share: an Orthanc with its plugin, peers by port, and `store` run where a hang is seen."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Pair
from tests.loopback import LOOPBACK, free_port, require
from tests.peers import Orthanc, Program, orthanc
from tests.uploads.pacs.packs import DEFAULT, Ledger, unhung
from tests.webstub import Request, reply, stored_and_failed
from uploads.pacs import stow
from uploads.pacs.address import WebPeer
from uploads.pacs.dimse import Deadlines, Item, PeerError

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def at(port: int, path: str = "/dicom-web", **more: Any) -> WebPeer:
    return WebPeer(LOOPBACK, port, path, **more)


@contextmanager
def web_orthanc(directory: Path, **config: Any) -> Iterator[tuple[Orthanc, WebPeer]]:
    """An Orthanc that speaks DICOMweb, and how to call it."""
    if not PLUGIN.exists():
        pytest.skip("needs Orthanc's DICOMweb plugin (Debian package orthanc-dicomweb)")
    with orthanc(
        directory, Plugins=[str(PLUGIN)], DicomWeb={"Enable": True, "Root": "/dicom-web/"}, **config
    ) as server:
        yield server, at(server.http_port)


NGINX = """
daemon off; worker_processes 1; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {place}/bodies; proxy_temp_path {place}/answers;
  fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  server {{
    listen {host}:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
    client_max_body_size {most}; proxy_request_buffering off;
    location / {{ proxy_pass http://{host}:{behind}; proxy_http_version 1.1; }}
  }}
}}
"""


@contextmanager
def nginx_before(behind: int, place: Path, server: Pair, *, most: str = "0") -> Iterator[int]:
    """nginx with a certificate before a plain service; it takes requests of at most `most`. Yields its port.

    Debian's Orthanc 1.10.1 dies of its first request over https, so it stands behind a proxy as most do.
    """
    require("nginx")
    place.mkdir()
    certificate, key = server.files(place)
    port = free_port()
    text = NGINX.format(
        place=place, host=LOOPBACK, port=port, behind=behind, certificate=certificate, key=key, most=most
    )
    (place / "nginx.conf").write_text(text)
    command = ["nginx", "-c", str(place / "nginx.conf"), "-p", str(place), "-e", str(place / "errors")]
    program = Program(command, port, "", place)
    try:
        program.start()
        yield port
    finally:
        program.stop()


def put(
    peer: WebPeer,
    items: Sequence[Item],
    *,
    deadlines: Deadlines = DEFAULT,
    ledger: Ledger | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **more: Any,
) -> Ledger:
    """Run `stow.store` in a thread that must end by itself."""
    book = ledger or Ledger()

    def run() -> None:
        try:
            stow.store(
                peer,
                items,
                on_sending=book.sending,
                on_outcome=book.outcome,
                should_stop=should_stop,
                deadlines=deadlines,
                **more,
            )
        except (PeerError, OSError) as trouble:
            book.trouble = trouble

    unhung(run)
    return book


def stores_all(request: Request) -> bytes:
    return reply(200, stored_and_failed(request.uids()))


def room_for(count: int, items: list[Item]) -> int:
    """Octets for so many of these, whose names differ a little in length."""
    return count * max(item.source.size for item in items)


def constantly(status: int, body: bytes = b"", **headers: str) -> Callable[[Request], bytes]:
    return lambda _: reply(status, body, **headers)


def says_too_large_at_once(connection: socket.socket, _: Request, __: threading.Event) -> None:
    connection.sendall(reply(413, connection="close"))


def closes_in_the_middle(connection: socket.socket, _: Request, __: threading.Event) -> None:
    connection.recv(100_000)


def stops_reading(_: socket.socket, __: Request, ended: threading.Event) -> None:
    ended.wait()


def drips(connection: socket.socket, _: Request, ended: threading.Event) -> None:
    connection.setblocking(False)
    for octet in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000:
        while not ended.wait(0.05):
            try:
                while connection.recv(1 << 20):
                    pass
            except (BlockingIOError, ssl.SSLWantReadError):
                break
        connection.send(bytes([octet]))


def says_it_was_done_waiting(connection: socket.socket, request: Request, _: threading.Event) -> None:
    taken = 0
    while taken < int(request.headers["content-length"]) - 100_000:
        taken += len(connection.recv(100_000))
    connection.sendall(reply(503, retry_after="9", connection="close"))
