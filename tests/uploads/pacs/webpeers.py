"""What the DICOMweb tests share: an Orthanc with its plugin, peers by port, and `store` run where a hang is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import LOOPBACK
from tests.peers import Orthanc, orthanc
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
