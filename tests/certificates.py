"""Authorities and certificates made for one test run: nothing of them is ever committed."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tests.loopback import LOOPBACK

YEAR = timedelta(days=365)
HOST = "pacs.example"


@dataclass(frozen=True)
class Pair:
    """A certificate with its private key."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key(self) -> str:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def encrypted_key(self, passphrase: str) -> str:
        encryption = BestAvailableEncryption(passphrase.encode())
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()

    def files(self, folder: Path) -> tuple[Path, Path]:
        """The certificate and the key as PEM files in `folder`."""
        serial = self.certificate.serial_number
        certificate, key = folder / f"{serial}.crt", folder / f"{serial}.key"
        certificate.write_text(self.pem)
        key.write_text(self.key)
        return certificate, key


class Authority:
    """A certification authority that signs whatever a test wants."""

    def __init__(self, name: str = "Clinic CA", *, ends: datetime | None = None) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._private, ends or datetime.now(UTC) + 10 * YEAR)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pair = Pair(builder.sign(self._private, hashes.SHA256()), self._private)

    @property
    def pem(self) -> str:
        return self.pair.pem

    def issue(self, *names: str, subject: str = "", ends: datetime | None = None) -> Pair:
        """A certificate for these host names and addresses, for servers and clients alike."""
        private = ec.generate_private_key(ec.SECP256R1())
        subject_name = _named(subject or (names[0] if names else "client"))
        builder = _builder(subject_name, self._name, private, ends or datetime.now(UTC) + YEAR)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        return Pair(builder.sign(self._private, hashes.SHA256()), private)

    @cached_property
    def server(self) -> Pair:
        return self.issue(HOST, "localhost", LOOPBACK)

    @cached_property
    def expired(self) -> Pair:
        return self.issue(HOST, LOOPBACK, ends=datetime.now(UTC) - timedelta(days=1))

    @cached_property
    def of_another_name(self) -> Pair:
        return self.issue("elsewhere.example", "192.0.2.1")

    @cached_property
    def client(self) -> Pair:
        return self.issue(subject="relaypacs")


def server_context(
    pair: Pair, *, clients: Authority | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """What a TLS server needs; with `clients` it wants a certificate that this authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*pair.files(Path(folder)))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, private: ec.EllipticCurvePrivateKey, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - 20 * YEAR)
        .not_valid_after(ends)
    )
