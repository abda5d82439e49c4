"""What the DICOMweb tests share: an Orthanc with its plugin, peers by port, and `store` run where a hang is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Pair
from tests.loopback import LOOPBACK, free_port, require
from tests.peers import Orthanc, Program, orthanc
from tests.uploads.pacs.packs import DEFAULT, Ledger, unhung
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
