"""Studies travel over TLS to dcmtk, Orthanc and pynetdicom as they travel without."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.certificates import Authority, Pair, server_context
from tests.peers import Orthanc, Program, data_set_of, orthanc, scripted_scp, storescp
from tests.uploads.pacs.packs import QUICK, Ledger, Sample, ct_series, pack_of, send, sendable_samples
from uploads.pacs.address import Peer
from uploads.pacs.association import Association
from uploads.pacs.deadlines import Deadlines
from uploads.pacs.dimse import Kind, PeerTimeout, TlsFailed
from uploads.pacs.echo import VERIFICATION, echo
from uploads.pacs.find import find_instances
from uploads.pacs.security import Tls

pytestmark = pytest.mark.integration

AUTHORITY = Authority()
STRANGER = Authority("Somebody")
TLS = Tls(ca=AUTHORITY.pem)
MUTUAL = replace(TLS, certificate=AUTHORITY.client.pem, key=AUTHORITY.client.key)
SAMPLES = sendable_samples()
NO_ANSWER_FROM_ORTHANC = {"MR_truncated.dcm", "SC_rgb_jpeg.dcm"}


@contextmanager
def secured_storescp(
    folder: Path, *flags: str, server: Pair = AUTHORITY.server, clients: Authority | None = None
) -> Iterator[Program]:
    """storescp over TLS; with `clients` it takes callers alone whose certificate that authority has signed."""
    certificate, key = server.files(folder)
    trusted, _ = (clients or AUTHORITY).pair.files(folder)
    rule = ["--require-peer-cert", "--add-cert-file", str(trusted)] if clients else ["--ignore-peer-cert"]
    with storescp("--enable-tls", str(key), str(certificate), *rule, *flags, directory=folder / "in") as scp:
        yield scp


@contextmanager
def secured_orthanc(folder: Path, *, mutual: bool = False) -> Iterator[Orthanc]:
    certificate, key = AUTHORITY.server.files(folder)
    trusted, _ = AUTHORITY.pair.files(folder)
    with orthanc(
        folder / "orthanc",
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(certificate),
        DicomTlsPrivateKey=str(key),
        DicomTlsTrustedCertificates=str(trusted),
        DicomTlsRemoteCertificateRequired=mutual,
    ) as server:
        yield server


def at(scp: Program, tls: Tls = TLS) -> Peer:
    return Peer(scp.ae, "127.0.0.1", scp.port, tls=tls)


def digests(octets: list[bytes]) -> set[str]:
    return {hashlib.sha256(one).hexdigest() for one in octets}


@pytest.mark.clinical
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_sample_arrives_unaltered_at_pynetdicom(tmp_path: Path, version: ssl.TLSVersion) -> None:
    items = pack_of(SAMPLES, tmp_path / "pack")
    context = server_context(AUTHORITY.server, clients=AUTHORITY, version=version)
    with scripted_scp(keep_bytes=False, tls=context) as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port, tls=MUTUAL), items)
    assert ledger.trouble is None
    assert set(ledger.kinds()) == {Kind.STORED}
    assert [one.sha256 for one in scp.received] == [sample.sha256 for sample in SAMPLES]
    assert len({one.transfer_syntax_uid for one in scp.received}) >= 10


@pytest.mark.parametrize("maximum_pdu", [128, 16382, 65537, 0])
def test_any_length_of_pdu_arrives_unaltered(tmp_path: Path, maximum_pdu: int) -> None:
    samples = ct_series(2, octets=1_310_720)
    items = pack_of(samples, tmp_path / "pack")
    with scripted_scp(maximum_pdu=maximum_pdu, tls=server_context(AUTHORITY.server)) as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port, tls=TLS), items)
    assert ledger.trouble is None
    assert [one.sha256 for one in scp.received] == [sample.sha256 for sample in samples]


def test_every_sample_arrives_unaltered_at_storescp(tmp_path: Path) -> None:
    samples = [sample for sample in SAMPLES if len(data_set_of(sample.file)) % 2 == 0]
    items = pack_of(samples, tmp_path / "pack")
    flags = ("--bit-preserving", "--unique-filenames")
    with secured_storescp(tmp_path, *flags, clients=AUTHORITY) as scp:
        ledger = send(at(scp, MUTUAL), items)
        files = [data_set_of(path.read_bytes()) for path in scp.directory.iterdir()]
    assert ledger.trouble is None
    assert set(ledger.kinds()) == {Kind.STORED}
    assert digests(files) == {sample.sha256 for sample in samples}
    assert len({sample.transfer_syntax_uid for sample in samples}) >= 10


@pytest.mark.parametrize("mutual", [False, True])
def test_orthanc_stores_and_finds(tmp_path: Path, mutual: bool) -> None:
    study, series = generate_uid(), generate_uid()
    samples = ct_series(8, study=study, series=series)
    others = [sample for sample in SAMPLES if sample.name not in NO_ANSWER_FROM_ORTHANC]
    with secured_orthanc(tmp_path, mutual=mutual) as server:
        peer = at(server, MUTUAL if mutual else TLS)
        assert echo(peer).ok
        ledger = send(peer, pack_of(samples + others, tmp_path / "pack"))
        found = find_instances(peer, study, [series])
        stored = digests([server.data_set(instance) for instance in server.instances()])
        unproven = echo(at(server))
    assert ledger.trouble is None
    assert set(found) == {sample.sop_instance_uid for sample in samples}
    assert {sample.sha256 for sample in samples} <= stored
    assert unproven.ok is not mutual
    assert mutual is (unproven.code == "tls_certificate_wanted")


def test_pynetdicom_echoes_and_finds(tmp_path: Path) -> None:
    study, series = generate_uid(), generate_uid()
    samples = ct_series(3, study=study, series=series)
    with scripted_scp(tls=server_context(AUTHORITY.server)) as scp:
        peer = Peer(scp.ae, "127.0.0.1", scp.port, tls=TLS)
        send(peer, pack_of(samples, tmp_path / "pack"))
        assert echo(peer).ok
        assert set(find_instances(peer, study, [series])) == {sample.sop_instance_uid for sample in samples}


@pytest.mark.parametrize(
    ("server", "clients", "tls", "code"),
    [
        (AUTHORITY.expired, None, TLS, "tls_expired"),
        (STRANGER.server, None, TLS, "tls_untrusted"),
        (AUTHORITY.of_another_name, None, TLS, "tls_name_mismatch"),
        (AUTHORITY.server, AUTHORITY, TLS, "tls_certificate_wanted"),
        (AUTHORITY.server, STRANGER, MUTUAL, "tls_certificate_refused"),
    ],
)
def test_who_cannot_be_trusted_gets_nothing(
    tmp_path: Path, server: Pair, clients: Authority | None, tls: Tls, code: str
) -> None:
    items = pack_of(ct_series(1), tmp_path / "pack")
    with secured_storescp(tmp_path, server=server, clients=clients) as scp:
        ledger = send(at(scp, tls), items, deadlines=QUICK)
        asked = echo(at(scp, tls), deadlines=QUICK)
        assert list(scp.directory.iterdir()) == []
    assert isinstance(ledger.trouble, TlsFailed)
    assert (ledger.trouble.code, ledger.trouble.kind, ledger.events) == (code, Kind.PAUSE, [])
    assert (asked.ok, asked.code, asked.kind) == (False, code, Kind.PAUSE)


def test_tls_to_a_plain_pacs_and_plain_to_a_secured_one_fail_at_once(tmp_path: Path) -> None:
    with storescp() as plain, scripted_scp() as scripted:
        to_storescp = echo(at(plain), deadlines=QUICK)
        to_pynetdicom = echo(Peer(scripted.ae, "127.0.0.1", scripted.port, tls=TLS), deadlines=QUICK)
    assert (to_storescp.ok, to_storescp.code, to_storescp.kind) == (False, "tls_hung_up", Kind.RETRY)
    assert (to_pynetdicom.ok, to_pynetdicom.code, to_pynetdicom.kind) == (False, "tls_not_spoken", Kind.PAUSE)
    with secured_storescp(tmp_path) as scp:
        without = echo(Peer(scp.ae, "127.0.0.1", scp.port), deadlines=QUICK)
    assert not without.ok


@pytest.mark.parametrize("octets", [32_768, 16_777_216])
def test_a_frozen_storescp_frees_the_sender(tmp_path: Path, octets: int) -> None:
    items = pack_of(ct_series(2, octets=octets), tmp_path / "pack")
    with secured_storescp(tmp_path, "--ignore") as scp:
        ledger = Ledger(on_begin=lambda item: scp.freeze() if item.key == 1 else None)
        send(at(scp), items, ledger=ledger, deadlines=QUICK)
    assert isinstance(ledger.trouble, PeerTimeout)
    assert ledger.events == [(0, "sending"), (0, "stored"), (1, "sending"), (1, "unknown")]


def test_a_killed_storescp_frees_the_sender(tmp_path: Path) -> None:
    items = pack_of(ct_series(2, octets=16_777_216), tmp_path / "pack")
    with secured_storescp(tmp_path, "--ignore") as scp:
        ledger = Ledger(on_begin=lambda item: scp.kill() if item.key == 1 else None)
        send(at(scp), items, ledger=ledger)
    assert ledger.trouble is not None
    assert getattr(ledger.trouble, "kind", None) is Kind.RETRY
    assert ledger.kinds() in ([Kind.STORED], [Kind.STORED, Kind.UNKNOWN])


def test_a_pacs_that_aborts_is_told_from_a_lost_connection(tmp_path: Path) -> None:
    items = pack_of(ct_series(1), tmp_path / "pack")
    with scripted_scp(statuses=["abort"], tls=server_context(AUTHORITY.server)) as scp:
        ledger = send(Peer(scp.ae, "127.0.0.1", scp.port, tls=TLS), items)
    assert getattr(ledger.trouble, "code", "") == "peer_aborted"


def test_many_associations_share_one_context(tmp_path: Path) -> None:
    samples: list[Sample] = ct_series(4)
    with secured_storescp(tmp_path, "--fork", "--ignore") as scp:
        for item in pack_of(samples, tmp_path / "pack"):
            assert send(at(scp), [item]).kinds() == [Kind.STORED]


def test_an_association_tells_when_the_certificate_of_the_pacs_ends(tmp_path: Path) -> None:
    with (
        secured_storescp(tmp_path) as scp,
        Association(at(scp), [(VERIFICATION, ("1.2.840.10008.1.2",))], Deadlines()) as association,
    ):
        assert association.peer_certificate_ends_at == AUTHORITY.server.certificate.not_valid_after_utc
