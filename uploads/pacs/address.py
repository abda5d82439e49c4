"""Where a PACS is: the address an administrator types, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEMES_OF_THE_NEXT_RELEASE = {"dicoms", "http", "https"}
AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")
FORM = "Write it as dicom://CALLED_AE@host:port or dicom://CALLED_AE@host:port?calling=AE."


class AddressError(ValueError):
    """The address cannot be used; `code` is stable, `detail` is a sentence for the administrator."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Peer:
    """One application entity to call, and the title under which we call it."""

    called_ae: str
    host: str
    port: int
    calling_ae: str = "RELAYPACS"


def parse(url: str, *, default_calling_ae: str) -> Peer:
    """Read `dicom://CALLED_AE@host:port[?calling=AE]`; raise AddressError with a code for anything else."""
    parts = _split(url)
    _check_scheme(parts.scheme)
    if parts.path not in ("", "/") or parts.fragment or parts.password is not None:
        raise AddressError("address_malformed", f"The address has parts that a dicom:// address does not have. {FORM}")
    return Peer(
        called_ae=_called_ae(parts),
        host=_host(parts),
        port=_port(parts),
        calling_ae=_ae_title(_calling_ae(parts) or default_calling_ae, whose="calling"),
    )


def _split(url: str) -> SplitResult:
    if not url.isprintable() or url != url.strip() or len(url) > 500:
        raise AddressError("address_malformed", f"The address has blanks or characters no address has. {FORM}")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise AddressError("address_malformed", f"The address cannot be read. {FORM}") from error


def _check_scheme(scheme: str) -> None:
    if scheme in SCHEMES_OF_THE_NEXT_RELEASE:
        raise AddressError(
            "scheme_unsupported",
            f"This release delivers by dicom:// only; {scheme}:// (the TLS and STOW-RS doors) comes with the next.",
        )
    if scheme != "dicom":
        raise AddressError("address_malformed", f"The address does not begin with dicom://. {FORM}")


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


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise AddressError("port_invalid", "The port is not a number from 1 to 65535.") from error
    if port is None:
        raise AddressError("port_missing", f"The port is missing. {FORM}")
    if port == 0:
        raise AddressError("port_invalid", "The port is not a number from 1 to 65535.")
    return port
