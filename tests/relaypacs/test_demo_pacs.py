"""The demo PACS does what a PACS does: it commits to what it has, and to nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from pynetdicom import _config

from relaypacs.demo import pacs
from tests.loopback import free_port, wait_until
from tests.uploads.pacs.packs import CT, Sample, ct_series, pack_of, send
from tests.uploads.pacs.test_listener import Desk, listening_desk
from uploads.pacs.address import Peer
from uploads.pacs.commitment import CommitmentUnsupported, Reference, Report, ask
from uploads.pacs.dimse import Kind

pytestmark = pytest.mark.integration

MR = "1.2.840.10008.5.1.4.1.1.4"


@dataclass
class Demo:
    peer: Peer
    directory: Path
    desk: Desk
    samples: list[Sample]

    def reported(self, references: list[Reference]) -> Report:
        """What it reports to the listener when it is asked for these."""
        transaction = str(generate_uid())
        self.desk.transactions.add(transaction)
        assert ask(self.peer, transaction, references, wait=0.2) is None
        wait_until(lambda: bool(self.desk.reports), "its report")
        calling_ae, report = self.desk.reports.pop()
        assert (calling_ae, report.transaction_uid) == ("PACS", transaction)
        return report


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    before = _config.STORE_RECV_CHUNKED_DATASET, _config.UNRESTRICTED_STORAGE_SERVICE
    samples = ct_series(3)
    with listening_desk() as desk:
        peer = Peer("PACS", "127.0.0.1", free_port())
        server = pacs.serve(tmp_path, port=peer.port, ae_title="PACS", report_to=desk.port, block=False)
        try:
            ledger = send(peer, pack_of(samples, tmp_path / "pack"))
            assert set(ledger.kinds()) == {Kind.STORED}
            yield Demo(peer, tmp_path, desk, samples)
        finally:
            server.shutdown()
            _config.STORE_RECV_CHUNKED_DATASET, _config.UNRESTRICTED_STORAGE_SERVICE = before


def test_it_commits_to_what_it_has(demo: Demo) -> None:
    uids = [sample.sop_instance_uid for sample in demo.samples]
    report = demo.reported([Reference(CT, uid) for uid in (*uids, "1.2.3.999")])
    assert (report.committed, report.failed) == (tuple(uids), {"1.2.3.999": 0x0112})


def test_it_does_not_commit_to_a_file_that_is_gone_or_of_another_class(demo: Demo) -> None:
    uids = [sample.sop_instance_uid for sample in demo.samples]
    for file in (demo.directory / "objects").iterdir():
        file.unlink()
        break
    report = demo.reported([Reference(CT, uid) for uid in uids])
    assert (len(report.committed), list(report.failed.values())) == (2, [0x0112])
    other = demo.reported([Reference(MR, report.committed[0])])
    assert other.failed == {report.committed[0]: 0x0119}


def test_without_anybody_to_report_to_it_offers_none(tmp_path: Path) -> None:
    peer = Peer("PACS", "127.0.0.1", free_port())
    server = pacs.serve(tmp_path, port=peer.port, ae_title="PACS", block=False)
    try:
        with pytest.raises(CommitmentUnsupported):
            ask(peer, str(generate_uid()), [Reference(CT, "1.2.3")])
    finally:
        server.shutdown()
