"""Memory does not grow with the instance, on its way to a DICOMweb service and back."""

import socket
import threading
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from tests.uploads.pacs.packs import CT, Slice
from tests.uploads.pacs.test_memory import MEGABYTE, PIXELS, Watch, private_octets, sparse_instance
from tests.uploads.pacs.webpeers import at, put
from tests.webstub import Request, reply, stored_and_failed, web_stub
from uploads.pacs import part10, wado
from uploads.pacs.dimse import Item, Kind
from uploads.pacs.fetched import Wanted

pytestmark = pytest.mark.integration

UID = "1.2.3.4.5"
HEAD = part10.head(sop_class_uid=CT, sop_instance_uid=UID, transfer_syntax_uid=str(ExplicitVRLittleEndian))


def stored(_: Request) -> bytes:
    return reply(200, stored_and_failed([UID]))


@pytest.mark.parametrize("plain", [True, False])
def test_it_sends_300_mb_in_a_few(tmp_path: Path, plain: bool) -> None:
    source = sparse_instance(tmp_path / "pack")
    source = Slice(source.descriptor, source.offset, source.size, plain=plain)
    item = Item("large", CT, UID, str(ExplicitVRLittleEndian), source)
    with web_stub(stored, keep_bodies=False) as stub:
        before, watch = private_octets(), Watch()
        watch.start()
        ledger = put(at(stub.port), [item])
        watch.ended.set()
        watch.join()
    assert ledger.trouble is None
    assert ledger.outcomes["large"].kind is Kind.STORED
    assert stub.taken > source.size
    assert 0 < watch.highest - before < 8 * MEGABYTE


def gives_300_mb(connection: socket.socket, _: Request, __: threading.Event) -> None:
    before, after, piece = b"--B\r\n\r\n" + HEAD, b"\r\n--B--", bytes(MEGABYTE // 10)
    length = len(before) + PIXELS + len(after)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=B\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + before)
    for _piece in range(PIXELS // len(piece)):
        connection.sendall(piece)
    connection.sendall(after)


def test_it_fetches_300_mb_in_a_few() -> None:
    wanted = Wanted("1.2.3", "1.2.4", UID, CT, str(ExplicitVRLittleEndian))
    with web_stub(stored, instead=gives_300_mb) as stub:
        before, watch = private_octets(), Watch()
        watch.start()
        fetched = wado.fetch(at(stub.port), wanted)
        watch.ended.set()
        watch.join()
    assert fetched.size == PIXELS
    assert 0 < watch.highest - before < 8 * MEGABYTE
