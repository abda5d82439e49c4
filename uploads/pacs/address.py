"""Where a PACS is: the address an administrator types, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from uploads.pacs.security import Credentials, Tls

DICOM_SCHEMES = {"dicom", "dicoms"}
WEB_PORTS = {"http": 80, "https": 443}
AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")
PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
FORM = "Write it as dicom://CALLED_AE@host:port, with ?calling=AE behind it if ours differs."
WEB_FORM = "Write it as https://host/dicom-web, the address before /studies."


class AddressError(ValueError):
    """The address cannot be used; `code` is stable, `detail` is a sentence for the administrator."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Peer:
    """One application entity to call, and the title under which we call it; over TLS where `tls` is given."""

    called_ae: str
    host: str
    port: int
    calling_ae: str = "RELAYPACS"
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class WebPeer:
    """One DICOMweb service. `path` is what stands before /studies, without a slash at its end; "" for none."""

    host: str
    port: int
    path: str
    tls: Tls | None = None
    credentials: Credentials | None = None


Target = Peer | WebPeer


def parse(url: str, *, default_calling_ae: str) -> Target:
    """Read `dicom[s]://CALLED_AE@host:port[?calling=AE]` or `http[s]://host[:port][/path]`.

    Raises AddressError with a code for anything else. Certificates and credentials are no part of an address: the
    answer's `tls` is the plainest one where the scheme asks for it.
    """
    parts = _split(url)
    if parts.scheme in DICOM_SCHEMES:
        return _dicom(parts, default_calling_ae)
    if parts.scheme in WEB_PORTS:
        return _web(parts)
    raise AddressError(
        "address_malformed", f"The address begins with none of dicom, dicoms, http, https and ://. {FORM}"
    )


def _dicom(parts: SplitResult, default_calling_ae: str) -> Peer:
    if parts.path not in ("", "/") or parts.fragment or parts.password is not None:
        raise AddressError("address_malformed", f"The address has parts that a dicom:// address does not have. {FORM}")
    return Peer(
        called_ae=_called_ae(parts),
        host=_host(parts),
        port=_port(parts),
        calling_ae=_ae_title(_calling_ae(parts) or default_calling_ae, whose="calling"),
        tls=Tls() if parts.scheme == "dicoms" else None,
    )


def _web(parts: SplitResult) -> WebPeer:
    if parts.username is not None or parts.password is not None:
        raise AddressError("credentials_in_address", "User name and password have fields of their own.")
    if parts.query or parts.fragment or not PATH.fullmatch(parts.path):
        raise AddressError(
            "address_malformed", f"The address has parts that a DICOMweb address does not have. {WEB_FORM}"
        )
    path = parts.path.rstrip("/").removesuffix("/studies")
    return WebPeer(
        host=_host(parts),
        port=_port(parts, usual=WEB_PORTS[parts.scheme]),
        path=path,
        tls=Tls() if parts.scheme == "https" else None,
    )


def _split(url: str) -> SplitResult:
    if not url.isprintable() or url != url.strip() or len(url) > 500:
        raise AddressError("address_malformed", f"The address has blanks or characters no address has. {FORM}")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise AddressError("address_malformed", f"The address cannot be read. {FORM}") from error


def _called_ae(parts: SplitResult) -> str:
    if "@" not in parts.netloc or not unquote(parts.username or "").strip(" "):
        raise AddressError("ae_missing", f"The AE title of the PACS is missing before the @. {FORM}")
    return _ae_title(unquote(parts.username or ""), whose="called")


def _calling_ae(parts: SplitResult) -> str | None:
    try:
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise AddressError("address_malformed", f"What follows the ? cannot be read. {FORM}") from error
    if [name for name, _ in query] not in ([], ["calling"]):
        raise AddressError("address_malformed", f"Only calling=AE may follow the ?. {FORM}")
    return query[0][1] if query else None


def _ae_title(title: str, *, whose: str) -> str:
    """PS3.5 6.2, AE: at most 16 characters of the default repertoire without backslash; outer blanks mean nothing."""
    title = title.strip(" ")
    if not AE_TITLE.fullmatch(title):
        raise AddressError(
            "ae_invalid",
            f"The {whose} AE title is not one: it has 1 to 16 plain characters (letters, digits, signs, no backslash).",
        )
    return title


def _host(parts: SplitResult) -> str:
    host = parts.hostname
    if not host:
        raise AddressError("host_missing", f"The host name is missing. {FORM}")
    if not HOST.fullmatch(host):
        raise AddressError("host_invalid", f"The host name has characters no host name has. {FORM}")
    return host


def _port(parts: SplitResult, *, usual: int | None = None) -> int:
    try:
        port = parts.port if parts.port is not None else usual
    except ValueError as error:
        raise AddressError("port_invalid", "The port is not a number from 1 to 65535.") from error
    if port is None:
        raise AddressError("port_missing", f"The port is missing. {FORM}")
    if port == 0:
        raise AddressError("port_invalid", "The port is not a number from 1 to 65535.")
    return port
