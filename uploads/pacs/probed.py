"""What a test of a PACS found, as values: what was tried, how it went, and what follows for the sending of studies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

ACCEPTED = 0


class Subject(StrEnum):
    """What one line of the result is about."""

    CONNECT = "connect"
    TLS = "tls"
    ECHO = "echo"
    PAIRS = "pairs"
    FIND = "find"
    COMMITMENT = "commitment"
    GET = "get"
    MOVE = "move"
    CREDENTIALS = "credentials"
    STOW = "stow"
    QIDO = "qido"
    WADO = "wado"


ASKING = frozenset({Subject.FIND, Subject.GET, Subject.MOVE, Subject.QIDO, Subject.WADO})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing tried. `ok` is None where it could not be told; `detail` is a sentence, `code` names the trouble."""

    subject: Subject
    ok: bool | None
    detail: str
    code: str = ""
    milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The word of the PACS on one pair: 0 is acceptance, 3 refuses the SOP class, 4 the syntax (PS3.8 Table 9-18)."""

    sop_class_uid: str
    transfer_syntax_uid: str
    result: int

    @property
    def accepted(self) -> bool:
        return self.result == ACCEPTED


@dataclass(frozen=True, slots=True)
class Probe:
    """Everything that one test found. `peer_certificate_ends_at`: of the certificate it showed, over TLS."""

    findings: tuple[Finding, ...]
    pairs: tuple[Negotiated, ...] = ()
    peer_certificate_ends_at: datetime | None = None

    def of(self, subject: Subject) -> Finding | None:
        return next((one for one in self.findings if one.subject is subject), None)

    def offers(self, subject: Subject) -> bool:
        found = self.of(subject)
        return found is not None and found.ok is True

    @property
    def ok(self) -> bool:
        """Whether studies can be sent there: it answers, and nothing it must do was refused."""
        return self.offers(Subject.ECHO) or self.offers(Subject.STOW)

    @property
    def query(self) -> str | None:
        """How it can be asked what it has: "find", "qido" or not at all."""
        if self.offers(Subject.FIND):
            return "find"
        return "qido" if self.offers(Subject.QIDO) else None

    @property
    def commitment(self) -> bool:
        return self.offers(Subject.COMMITMENT)

    @property
    def fetch(self) -> list[str]:
        """How an image can be had back: some of "get", "move", "wado"."""
        return [one.value for one in (Subject.GET, Subject.MOVE, Subject.WADO) if self.offers(one)]

    @property
    def refused(self) -> list[Negotiated]:
        return [pair for pair in self.pairs if not pair.accepted]

    def asked_at(self, door: Probe) -> Probe:
        """The same with what was found at another door, where it is asked what it has."""
        own = [one for one in self.findings if one.subject not in ASKING]
        theirs = [one for one in door.findings if one.subject in ASKING]
        if not theirs:
            last = door.findings[-1]
            theirs = [replace(last, subject=Subject.FIND, ok=False)]
        return replace(self, findings=(*own, *theirs))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)
