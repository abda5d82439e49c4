"""A PACS behind TLS is tested: whose certificate, until when, and what stands in the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.peers import silent_listener, storescp
from uploads.pacs import usual
from uploads.pacs.address import Peer
from uploads.pacs.probe import probe
from uploads.pacs.probed import Probe, Subject
from uploads.pacs.security import Tls

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def port(authority: Authority, tmp_path: Path) -> Iterator[int]:
    certificate, key = authority.server.files(tmp_path)
    with storescp("+tls", str(key), str(certificate), "--ignore-peer-cert", directory=tmp_path / "kept") as scp:
        yield scp.port


def words(found: Probe, subject: Subject) -> str:
    finding = found.of(subject)
    assert finding is not None
    return finding.detail


def test_it_tells_the_version_whose_certificate_and_until_when(port: int, authority: Authority) -> None:
    found = probe(Peer("STORESCP", "127.0.0.1", port, tls=Tls(ca=authority.pem)), usual.PAIRS)
    ends = authority.server.certificate.not_valid_after_utc.replace(microsecond=0)
    assert found.peer_certificate_ends_at == ends
    assert words(found, Subject.TLS).startswith("TLSv1.")
    assert f"certificate of CN=pacs.example, which holds until {ends:%Y-%m-%d %H:%M} UTC" in words(found, Subject.TLS)
    assert found.ok
    assert found.offers(Subject.PAIRS)


def test_one_that_is_not_trusted_is_told_from_one_that_is_not_there(port: int) -> None:
    found = probe(Peer("STORESCP", "127.0.0.1", port, tls=Tls(ca=Authority("Other").pem)), usual.PAIRS)
    assert [(one.subject, one.ok) for one in found] == [(Subject.CONNECT, True), (Subject.TLS, False)]
    assert found.findings[1].code == "tls_untrusted"
    assert not found.ok


def test_material_that_cannot_be_used_is_named_before_anything_is_sent() -> None:
    found = probe(Peer("PACS", "127.0.0.1", 9, tls=Tls(ca="no PEM")), usual.PAIRS)
    assert [(one.subject, one.ok, one.code) for one in found] == [(Subject.TLS, False, "tls_misconfigured")]


@pytest.mark.long
def test_a_handshake_that_never_ends_is_left() -> None:
    with silent_listener() as port:
        found = probe(Peer("PACS", "127.0.0.1", port, tls=Tls()), usual.PAIRS)
    assert [(one.subject, one.ok) for one in found] == [(Subject.CONNECT, True), (Subject.TLS, False)]
    assert found.findings[1].code == "peer_silent"
