"""TLS material as an administrator typed it: checked in words a person can act on, and made into a context."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from uploads.pacs.security import Tls


class TlsError(ValueError):
    """The material cannot be used; `code` is stable, `detail` is a sentence for the administrator, without secrets."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Certificates:
    """What was checked. `ends_at`: when the first of all given certificates expires (UTC), None without any.

    `subject` names our own certificate (RFC 4514), "" where we show none.
    """

    ends_at: datetime | None
    subject: str


def check(tls: Tls) -> Certificates:
    """Read the material as `context` will; raise TlsError where it cannot work.

    Codes: ca_unreadable, certificate_unreadable, certificate_missing, key_unreadable, key_encrypted, key_missing,
    key_mismatch, server_name_invalid, material_unusable.
    """
    authorities = _certificates(tls.ca, "ca_unreadable", "The authority's certificate") if tls.ca else []
    own = _certificates(tls.certificate, "certificate_unreadable", "Our certificate") if tls.certificate else []
    _check_pair(tls, own)
    _check_server_name(tls.server_name)
    context(tls)
    ends = [certificate.not_valid_after_utc for certificate in authorities + own]
    return Certificates(min(ends, default=None), own[0].subject.rfc4514_string() if own else "")


def _certificates(pem: str, code: str, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise TlsError(
            code, f"{what} cannot be read. Paste it as PEM, from -----BEGIN CERTIFICATE----- to the end."
        ) from error


def _check_pair(tls: Tls, own: list[x509.Certificate]) -> None:
    if tls.key and not own:
        raise TlsError("certificate_missing", "There is a private key but no certificate of ours that it belongs to.")
    if own and not tls.key:
        raise TlsError("key_missing", "There is a certificate of ours but no private key that belongs to it.")
    if own and _public(tls.key) != own[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise TlsError(
            "key_mismatch", "The private key does not belong to our certificate, which must be the first one given."
        )


def _public(key: str) -> bytes:
    """The public half of a PEM key. What the decoder says of the key is not passed on."""
    try:
        public = load_pem_private_key(key.encode(), password=None).public_key()
    except TypeError:
        raise TlsError(
            "key_encrypted", "The private key is protected by a passphrase. Paste it without; it is stored sealed."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsError(
            "key_unreadable", "The private key cannot be read. Paste it as PEM, from -----BEGIN to the end."
        ) from None
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_server_name(name: str) -> None:
    if name:
        session(Tls(server_name=name), name, ssl.MemoryBIO(), ssl.MemoryBIO())


def session(tls: Tls, host: str, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
    """A client session that has not begun, for a server whose certificate must name `tls.server_name` or `host`."""
    name = tls.server_name or host.partition("%")[0]
    try:
        return context(tls).wrap_bio(incoming, outgoing, server_hostname=name)
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(
            "server_name_invalid", "The name that the certificate must carry is neither a host name nor an IP address."
        ) from error


@lru_cache(maxsize=64)
def context(tls: Tls) -> ssl.SSLContext:
    """The context of every association with this material, made once; raise TlsError where OpenSSL refuses it.

    TLS 1.2 and later with OpenSSL's own choice of forward-secret suites, as PS3.15 B.9 and B.12 ask by way of BCP 195.
    The server's certificate is always checked: against `tls.ca` alone where it is given, else against the machine's.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    try:
        _trust(made, tls.ca)
        if tls.certificate:
            _show(made, tls.certificate, tls.key)
    except (ssl.SSLError, ValueError, TypeError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else "no PEM, or a key with a passphrase"
        raise TlsError("material_unusable", f"The certificates or the key cannot be used ({reason}).") from None
    return made


def _trust(made: ssl.SSLContext, ca: str) -> None:
    if not ca:
        made.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    made.load_verify_locations(cadata=ca)
    # Whoever hands us an intermediate authority, or the PACS's own certificate, wants that one to be trusted.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _show(made: ssl.SSLContext, certificate: str, key: str) -> None:
    with ExitStack() as files:
        certificate_file = files.enter_context(_in_memory(certificate))
        key_file = files.enter_context(_in_memory(key))
        made.load_cert_chain(certificate_file, key_file, password=_no_passphrase)


def _no_passphrase() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("the key is protected by a passphrase")


@contextmanager
def _in_memory(pem: str) -> Iterator[str]:
    """A path under which OpenSSL can read `pem`: nothing of it ever touches a disk (memfd_create(2))."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
