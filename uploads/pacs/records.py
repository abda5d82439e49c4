"""TLS without a socket: plain octets become records and records plain octets; whoever holds it moves the records."""

from __future__ import annotations

import ssl
from typing import cast

from uploads.pacs.errors import AssociationAborted, PeerError, TlsFailed, tls_hung_up, tls_trouble
from uploads.pacs.outcomes import Kind
from uploads.pacs.security import Tls
from uploads.pacs.tls import TlsError, session

Names = tuple[tuple[tuple[str, str], ...], ...]
SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}


class Records:
    """One TLS connection as client. Raises PeerError alone; after the first one it raises the same again."""

    def __init__(self, tls: Tls, host: str) -> None:
        self._showed_certificate = bool(tls.certificate)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.trouble: PeerError | None = None
        try:
            self._session = session(tls, host, self._incoming, self._outgoing)
        except TlsError as error:
            raise TlsFailed("tls_misconfigured", error.detail, Kind.PAUSE) from error

    @property
    def peer_certificate_end(self) -> str | None:
        """Its notAfter as OpenSSL writes it."""
        certificate = self._session.getpeercert() or {}
        return str(certificate["notAfter"]) if "notAfter" in certificate else None

    @property
    def peer_certificate_subject(self) -> str:
        """Whose certificate it is, as CN=…, O=…; "" where it names nobody there."""
        certificate = self._session.getpeercert() or {}
        names = [pair for part in cast(Names, certificate.get("subject", ())) for pair in part]
        return ", ".join(f"{SHORT.get(name, name)}={value}" for name, value in names)

    @property
    def version(self) -> str:
        """As TLSv1.3."""
        return self._session.version() or ""

    def shaken(self) -> bool:
        """Take the handshake as far as the records at hand allow; True once our side of it is done."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise self._remembered(tls_hung_up()) from error
        except ssl.SSLError as error:
            raise self._failed(error) from error
        return True

    def take_in(self, records: bytes) -> None:
        """What the peer sent; b"" where it will send no more."""
        if records:
            self._incoming.write(records)
        else:
            self._incoming.write_eof()

    def give_out(self) -> bytes:
        """All that is to be sent, b"" where nothing is."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def seal(self, octets: bytes | memoryview) -> None:
        """Make records of all `octets`; `give_out` has them."""
        if self.trouble is not None:
            raise self.trouble
        try:
            self._session.write(octets)
        except ssl.SSLError as error:
            raise self._failed(error) from error

    def open(self, most: int) -> bytes | None:
        """Up to `most` plain octets: None where more records are needed, b"" where the peer said that this is all.

        A connection that ends without that word may have been cut by anyone, so it is lost (RFC 8446 6.1).
        """
        if self.trouble is not None:
            raise self.trouble
        try:
            return self._session.read(most)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLEOFError as error:
            lost = AssociationAborted("connection_lost", "The connection to the PACS ended without a TLS farewell.")
            raise self._remembered(lost) from error
        except ssl.SSLError as error:
            raise self._failed(error) from error

    def farewell(self) -> bytes:
        """The records that end our side: close_notify, or the alert of a handshake that failed."""
        try:
            self._session.unwrap()
        except ssl.SSLError:
            pass
        return self.give_out()

    def _failed(self, error: ssl.SSLError) -> PeerError:
        agreed = self._session.cipher() is not None
        return self._remembered(tls_trouble(error, agreed=agreed, showed_certificate=self._showed_certificate))

    def _remembered(self, trouble: PeerError) -> PeerError:
        self.trouble = trouble
        return trouble
