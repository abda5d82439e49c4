"""The first steps of a test, of whichever protocol: a TCP connection and, where the address asks for it, TLS."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from uploads.pacs.deadlines import Deadlines
from uploads.pacs.errors import PeerError, PeerTimeout, TlsFailed
from uploads.pacs.probed import Finding, Subject
from uploads.pacs.security import Tls
from uploads.pacs.wire import Wire, connect


@dataclass(frozen=True, slots=True)
class Reached:
    """What was found, whether one can go on, and until when the certificate holds that was shown."""

    findings: tuple[Finding, ...]
    ok: bool
    certificate_ends_at: datetime | None = None


def reach(host: str, port: int, tls: Tls | None, deadlines: Deadlines) -> Reached:
    """Connect and hang up; trouble is a finding. At most `connect` and, over TLS, `negotiate` seconds."""
    began = time.monotonic()
    try:
        wire = connect(host, port, deadlines, tls=tls)
    except PeerError as trouble:
        return Reached(_in_the_way(trouble, f"{host}:{port}", _since(began), secured=tls is not None), ok=False)
    milliseconds = _since(began)
    wire.close()
    connected = Finding(Subject.CONNECT, True, f"{host}:{port} takes connections.", milliseconds=milliseconds)
    secured = (_secured(wire),) if tls is not None else ()
    return Reached((connected, *secured), ok=True, certificate_ends_at=wire.peer_certificate_ends_at)


def _secured(wire: Wire) -> Finding:
    ends = wire.peer_certificate_ends_at
    until = f", which holds until {ends:%Y-%m-%d %H:%M} UTC" if ends is not None else ""
    return Finding(Subject.TLS, True, f"{wire.secured_by}{until}.")


def _in_the_way(trouble: PeerError, where: str, milliseconds: float, *, secured: bool) -> tuple[Finding, ...]:
    """A handshake that failed comes behind a connection that was had."""
    shaking = secured and isinstance(trouble, TlsFailed | PeerTimeout)
    if not shaking or trouble.code == "tls_misconfigured":
        subject = Subject.TLS if shaking else Subject.CONNECT
        return (Finding(subject, False, trouble.detail, trouble.code, milliseconds),)
    connected = Finding(Subject.CONNECT, True, f"{where} takes connections.", milliseconds=milliseconds)
    return connected, Finding(Subject.TLS, False, trouble.detail, trouble.code)


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000
