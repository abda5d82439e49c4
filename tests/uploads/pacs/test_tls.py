"""What an administrator pastes as TLS material is checked in words, and no key leaves memory."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.certificates import Authority
from uploads.pacs.security import Tls
from uploads.pacs.tls import Certificates, TlsError, check, context

pytestmark = pytest.mark.unit

AUTHORITY = Authority()
CLIENT = AUTHORITY.client
GOOD = Tls(ca=AUTHORITY.pem, certificate=CLIENT.pem, key=CLIENT.key, server_name="pacs.example")
NO_PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_it_names_our_certificate_and_the_first_end() -> None:
    ends = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
    short = AUTHORITY.issue(subject="relaypacs", ends=ends)
    assert check(replace(GOOD, certificate=short.pem, key=short.key)) == Certificates(ends, "CN=relaypacs")
    brief = Authority(ends=ends - timedelta(days=1))
    chain = short.pem + "\n" + AUTHORITY.pem
    both = Tls(ca=AUTHORITY.pem + brief.pem, certificate=chain, key=short.key)
    assert check(both).ends_at == ends - timedelta(days=1)


def test_nothing_given_is_in_order() -> None:
    assert check(Tls()) == Certificates(None, "")
    assert context(Tls()).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("ca_unreadable", {"ca": "hello"}),
        ("ca_unreadable", {"ca": NO_PEM}),
        ("certificate_unreadable", {"certificate": NO_PEM}),
        ("certificate_unreadable", {"certificate": CLIENT.key}),
        ("certificate_missing", {"certificate": ""}),
        ("key_missing", {"key": ""}),
        ("key_unreadable", {"key": CLIENT.key[:60]}),
        ("key_unreadable", {"key": "geheim"}),
        ("key_encrypted", {"key": CLIENT.encrypted_key("geheim")}),
        ("key_mismatch", {"key": AUTHORITY.server.key}),
        ("key_mismatch", {"certificate": AUTHORITY.pem + CLIENT.pem}),
        ("server_name_invalid", {"server_name": ".pacs"}),
        ("server_name_invalid", {"server_name": "a" * 300}),
    ],
)
def test_each_mistake_has_its_code(code: str, change: dict[str, str]) -> None:
    with pytest.raises(TlsError) as error:
        check(replace(GOOD, **change))
    assert error.value.code == code
    assert error.value.detail.endswith(".")


def test_a_key_that_openssl_does_not_take_is_told() -> None:
    strange = ed448.Ed448PrivateKey.generate()
    key = strange.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(TlsError) as error:
        context(replace(GOOD, key=key))
    assert error.value.code == "material_unusable"


@pytest.mark.parametrize("change", [{"key": CLIENT.encrypted_key("geheim")}, {"key": "geheim"}, {"ca": "ungültig"}])
def test_unchecked_material_is_refused_without_a_question_on_the_terminal(change: dict[str, str]) -> None:
    with pytest.raises(TlsError) as error:
        context(replace(GOOD, **change))
    assert error.value.code == "material_unusable"


@pytest.mark.parametrize("change", [{"key": CLIENT.key[:-60]}, {"key": AUTHORITY.server.key}])
def test_no_key_is_printed(change: dict[str, str]) -> None:
    tls = replace(GOOD, **change)
    with pytest.raises(TlsError) as error:
        check(tls)
    secret = tls.key.splitlines()[1]
    cause = error.value.__cause__
    assert secret not in f"{tls!r} {error.value!r} {error.value.detail} {cause!r} {getattr(cause, 'object', '')}"


def test_a_key_is_read_from_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, certificate: str, key: str, password: object) -> None:
        opened.extend(str(Path(path).readlink()) for path in (certificate, key))
        load(self, certificate, key, password)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    before = len(list(Path("/proc/self/fd").iterdir()))
    context(replace(GOOD, server_name="seen.example"))
    assert opened == ["/memfd:pem (deleted)"] * 2
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_context_is_made_once_for_the_same_material() -> None:
    assert context(GOOD) is context(replace(GOOD))
    assert context(GOOD) is not context(replace(GOOD, ca=Authority().pem))


def test_a_context_takes_no_tls_before_1_2_and_no_certificate_unseen() -> None:
    made = context(GOOD)
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert {row["protocol"] for row in made.get_ciphers()} <= {"TLSv1.2", "TLSv1.3"}
    assert not [row["name"] for row in made.get_ciphers() if row["name"].startswith(("AES", "DES", "RC4", "NULL"))]


def test_own_authorities_replace_the_machines() -> None:
    assert [row["serialNumber"] for row in context(GOOD).get_ca_certs()] == [
        f"{AUTHORITY.pair.certificate.serial_number:X}".zfill(40)
    ]
