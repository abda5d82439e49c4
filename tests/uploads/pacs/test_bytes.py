"""What arrives is what was sent, octet by octet."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.peers import data_set_of, orthanc, scripted_scp, storescp
from tests.uploads.pacs.packs import Sample, Slice, ct_series, pack_of, send, sendable_samples
from uploads.pacs.address import Peer
from uploads.pacs.dimse import Item, Kind, Outcome, SourceTruncated

pytestmark = pytest.mark.integration

SAMPLES = sendable_samples()
# Orthanc parses what it gets and writes many samples anew (group lengths, undefined lengths); these it keeps as sent.
KEPT_BY_ORTHANC = {"CT_small.dcm", "MR_small.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_jpeg_dcmtk.dcm", "test-SR.dcm"}
# To these it gives no answer at all, whoever sends them: cut or broken inside.
NO_ANSWER_FROM_ORTHANC = {"MR_truncated.dcm", "SC_rgb_jpeg.dcm"}


def test_there_are_samples_of_many_syntaxes() -> None:
    assert len(SAMPLES) > 60
    assert len({sample.transfer_syntax_uid for sample in SAMPLES}) >= 10


@pytest.mark.parametrize("chunked", [False, True])
def test_every_sample_arrives_unaltered_at_pynetdicom(tmp_path: Path, chunked: bool) -> None:
    items = pack_of(SAMPLES, tmp_path / "pack")
    with scripted_scp(chunked=chunked, keep_bytes=False) as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), items)
    assert ledger.trouble is None
    assert set(ledger.kinds()) == {Kind.STORED}
    assert [one.sha256 for one in scp.received] == [sample.sha256 for sample in SAMPLES]
    assert [one.transfer_syntax_uid for one in scp.received] == [sample.transfer_syntax_uid for sample in SAMPLES]


@pytest.mark.parametrize("maximum_pdu", [128, 4096, 16382, 65537, 1 << 22])
def test_it_honours_the_longest_pdu_the_peer_takes(tmp_path: Path, maximum_pdu: int) -> None:
    samples = ct_series(3, octets=131_072)
    items = pack_of(samples, tmp_path / "pack")
    with scripted_scp(maximum_pdu=maximum_pdu) as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), items)
    assert ledger.trouble is None
    assert [one.sha256 for one in scp.received] == [sample.sha256 for sample in samples]


def test_it_reads_through_pread_where_there_is_no_plain_file(tmp_path: Path) -> None:
    samples = ct_series(2, octets=2_621_440)
    plain = pack_of(samples, tmp_path / "pack")
    slices = [item.source for item in plain if isinstance(item.source, Slice)]
    sources = [Slice(one.descriptor, one.offset, one.size, plain=False) for one in slices]
    items = [
        Item(item.key, item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid, source)
        for item, source in zip(plain, sources, strict=True)
    ]
    with scripted_scp() as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), items)
    assert ledger.kinds() == [Kind.STORED, Kind.STORED]
    assert [one.sha256 for one in scp.received] == [sample.sha256 for sample in samples]


def test_every_sample_arrives_unaltered_at_storescp(tmp_path: Path) -> None:
    items = pack_of(SAMPLES, tmp_path / "pack")
    with storescp("--bit-preserving", "--unique-filenames", directory=tmp_path / "in") as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), items)
        files = [data_set_of(path.read_bytes()) for path in scp.directory.iterdir()]
    assert ledger.trouble is None
    not_sent = {SAMPLES[key].name: outcome.code for key, outcome in ledger.outcomes.items() if not_stored(outcome)}
    assert not_sent == {"rtplan_truncated.dcm": "odd_length"}
    sent = Counter(digest_at_dcmtk(sample) for sample in SAMPLES if sample.name not in not_sent)
    assert Counter(hashlib.sha256(octets).hexdigest() for octets in files) == sent


def not_stored(outcome: Outcome) -> bool:
    return outcome.kind is not Kind.STORED


def digest_at_dcmtk(sample: Sample) -> str:
    """As sent, but for the one NUL that makes a deflated data set even (PS3.5 A.5)."""
    octets = data_set_of(sample.file)
    return hashlib.sha256(octets + bytes(len(octets) % 2)).hexdigest()


def test_what_orthanc_says_it_has_stored_it_has(tmp_path: Path) -> None:
    samples = [sample for sample in SAMPLES if sample.name not in NO_ANSWER_FROM_ORTHANC]
    items = pack_of(samples, tmp_path / "pack")
    with orthanc(tmp_path / "orthanc") as server:
        ledger = send(Peer(server.ae, "127.0.0.1", server.port), items)
        present = server.sop_instance_uids()
        digests = {hashlib.sha256(server.data_set(instance)).hexdigest() for instance in server.instances()}
    stored = [samples[key] for key, outcome in ledger.outcomes.items() if outcome.kind is Kind.STORED]
    assert ledger.trouble is None
    assert len(stored) > 100
    assert {sample.sop_instance_uid for sample in stored} == present
    assert {sample.name for sample in stored if sample.sha256 in digests} >= KEPT_BY_ORTHANC


def test_it_says_so_when_the_pack_ends_too_early(tmp_path: Path) -> None:
    samples = ct_series(3, octets=2_621_440)
    items = pack_of(samples, tmp_path / "pack")
    os.truncate(tmp_path / "pack", len(samples[0].file) + 1_500_000)
    with scripted_scp() as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), items)
    assert isinstance(ledger.trouble, SourceTruncated)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]
    assert len(scp.received) == 1


def test_it_sends_nothing_for_an_instance_without_a_data_set(tmp_path: Path) -> None:
    (item,) = pack_of(ct_series(1), tmp_path / "pack")
    source = Slice(item.source.fileno(), 0, 0)
    empty = Item(0, item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid, source)
    with scripted_scp() as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port), [empty])
    assert isinstance(ledger.trouble, SourceTruncated)
    assert scp.received == []
