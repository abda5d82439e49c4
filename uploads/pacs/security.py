"""What proves us to a PACS and it to us: TLS material and HTTP credentials, as values that never print secrets."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS with one destination; every text is PEM, and an empty one means "not given".

    `ca`: the authorities to trust instead of the machine's own. `certificate` (with its chain) and `key`: what we show
    when asked. `server_name`: the name its certificate must carry, where it differs from the host we call.
    """

    ca: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic (RFC 7617)."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """HTTP Bearer (RFC 6750)."""

    token: str = field(repr=False)


Credentials = Basic | Bearer
