"""Memory does not grow with the instance."""

import os
import threading
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from tests.certificates import Authority
from tests.peers import storescp
from tests.uploads.pacs.packs import CT, Slice, send
from uploads.pacs.address import Peer
from uploads.pacs.dimse import Item, Kind
from uploads.pacs.security import Tls

pytestmark = pytest.mark.integration

MEGABYTE = 1_000_000
PIXELS = 300 * MEGABYTE
AUTHORITY = Authority()


def private_octets() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("RssAnon"))


class Watch(threading.Thread):
    """The highest private memory of this process while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.002):
            self.highest = max(self.highest, private_octets())


def sparse_instance(path: Path) -> Slice:
    """A CT with 300 MB of pixels, all but the header of it a hole in the file."""
    header = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    del header.PixelData, header[0xFFFCFFFC]
    buffer = BytesIO()
    pydicom.filewriter.write_dataset(_little_endian(buffer), header)
    octets = buffer.getvalue() + b"\xe0\x7f\x10\x00OW\0\0" + PIXELS.to_bytes(4, "little")
    path.write_bytes(octets)
    os.truncate(path, len(octets) + PIXELS)
    return Slice(os.open(path, os.O_RDONLY), 0, len(octets) + PIXELS)


def _little_endian(buffer: BytesIO) -> pydicom.filebase.DicomFileLike:
    stream = pydicom.filebase.DicomFileLike(buffer)
    stream.is_little_endian, stream.is_implicit_VR = True, False
    return stream


@pytest.mark.parametrize(("plain", "secured"), [(True, False), (False, False), (True, True)])
def test_it_sends_300_mb_in_a_few(tmp_path: Path, plain: bool, secured: bool) -> None:
    source = sparse_instance(tmp_path / "pack")
    source = Slice(source.descriptor, source.offset, source.size, plain=plain)
    item = Item("large", CT, "1.2.3.4.5", str(ExplicitVRLittleEndian), source)
    certificate, key = AUTHORITY.server.files(tmp_path)
    flags = ["--enable-tls", str(key), str(certificate), "--ignore-peer-cert"] if secured else []
    with storescp("--ignore", *flags) as scp:
        peer = Peer(scp.ae, "127.0.0.1", scp.port, tls=Tls(ca=AUTHORITY.pem) if secured else None)
        before = private_octets()
        watch = Watch()
        watch.start()
        ledger = send(peer, [item])
        watch.ended.set()
        watch.join()
    assert ledger.trouble is None
    assert ledger.outcomes["large"].kind is Kind.STORED
    assert watch.highest > 0
    assert watch.highest - before < 8 * MEGABYTE
