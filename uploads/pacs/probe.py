"""Is a PACS there, what does it take, and what does it offer? Asked by opening associations; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from pydicom.uid import ImplicitVRLittleEndian

from uploads.pacs import pdu, probe_web
from uploads.pacs.address import Peer, Target, WebPeer
from uploads.pacs.association import Association
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.echo import echo
from uploads.pacs.errors import PeerError, PeerTimeout
from uploads.pacs.find import STUDY_ROOT_FIND
from uploads.pacs.probed import Finding, Negotiated, Probe, Subject
from uploads.pacs.reach import reach
from uploads.pacs.usual import Pair

QUICK = Deadlines(connect=5.0, negotiate=6.0, echo=5.0, stall=5.0, release=1.0)
LONGEST_STEP = QUICK.connect + 2 * QUICK.negotiate + QUICK.echo + QUICK.release
SECONDS = 55.0
"""For everything together: no step is begun that could end later."""

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
SERVICES = {
    Subject.FIND: (STUDY_ROOT_FIND, "C-FIND (Study Root)"),
    Subject.COMMITMENT: (STORAGE_COMMITMENT, "storage commitment (push model)"),
    Subject.GET: (STUDY_ROOT_GET, "C-GET (Study Root)"),
    Subject.MOVE: (STUDY_ROOT_MOVE, "C-MOVE (Study Root)"),
}
NO_ECHO_BUT_THERE = ("echo_unsupported", "echo_failed")


def probe(target: Target, pairs: Iterable[Pair], *, seconds: float = SECONDS) -> Probe:
    """Connect, C-ECHO, then negotiate every service and every pair of SOP class and transfer syntax.

    Each pair has a presentation context of its own, over as many associations of 128 as that takes (PS3.8 9.3.2.2). A
    DICOMweb service is asked what `uploads.pacs.probe_web` says. Trouble is a finding, never an exception; all of it
    ends within `seconds`.
    """
    if isinstance(target, WebPeer):
        return probe_web.probe(target, seconds=seconds)
    return _Prober(target, Deadline.after(seconds)).everything(list(dict.fromkeys(pairs)))


def probe_asking(target: Target, *, seconds: float = SECONDS) -> Probe:
    """The same for a door where it is only asked what it has: nothing about storing."""
    if isinstance(target, WebPeer):
        return probe_web.probe(target, storing=False, seconds=seconds)
    return _Prober(target, Deadline.after(seconds)).everything([])


class _Prober:
    """One test of one peer: what was found so far, and how much time is left."""

    def __init__(self, peer: Peer, deadline: Deadline) -> None:
        self._peer = peer
        self._deadline = deadline
        self._findings: list[Finding] = []
        self._negotiated: list[Negotiated] = []
        self._certificate_ends_at: datetime | None = None

    def everything(self, pairs: Sequence[Pair]) -> Probe:
        if self._reach() and self._echo():
            self._services()
            self._pairs(pairs)
        return Probe(tuple(self._findings), tuple(self._negotiated), self._certificate_ends_at)

    def _reach(self) -> bool:
        reached = reach(self._peer.host, self._peer.port, self._peer.tls, QUICK)
        self._findings += reached.findings
        self._certificate_ends_at = reached.certificate_ends_at
        return reached.ok

    def _echo(self) -> bool:
        """False where no further association makes sense."""
        answer = echo(self._peer, deadlines=QUICK)
        self._findings.append(Finding(Subject.ECHO, answer.ok, answer.detail, answer.code, answer.milliseconds))
        return answer.ok or answer.code in NO_ECHO_BUT_THERE

    def _services(self) -> None:
        answers = self._negotiate([(uid, (ImplicitVRLittleEndian,)) for uid, _ in SERVICES.values()])
        if isinstance(answers, PeerError):
            self._untold(SERVICES, answers)
            return
        for (subject, (_, name)), answer in zip(SERVICES.items(), answers, strict=True):
            ok = answer.result == 0
            self._findings.append(Finding(subject, ok, f"It offers {name}." if ok else f"It does not offer {name}."))

    def _pairs(self, pairs: Sequence[Pair]) -> None:
        for batch in _batches(pairs):
            answers = self._negotiate([(sop_class, (syntax,)) for sop_class, syntax in batch])
            if isinstance(answers, PeerError):
                self._untold([Subject.PAIRS], answers)
                return
            results = zip(batch, answers, strict=True)
            self._negotiated += [Negotiated(*pair, answer.result) for pair, answer in results]
        if pairs:
            taken = sum(one.accepted for one in self._negotiated)
            detail = f"It takes {taken} of {len(pairs)} kinds of image asked about."
            self._findings.append(Finding(Subject.PAIRS, taken > 0, detail))

    def _negotiate(self, proposals: Sequence[pdu.Proposal]) -> list[pdu.Answer] | PeerError:
        if self._deadline.left() < LONGEST_STEP:
            return PeerTimeout("probe_out_of_time", "Not asked: the PACS took too long over the steps before.")
        try:
            with Association(self._peer, proposals, QUICK) as association:
                return association.answers
        except PeerError as trouble:
            return trouble

    def _untold(self, subjects: Iterable[Subject], trouble: PeerError) -> None:
        self._findings += [Finding(subject, None, trouble.detail, trouble.code) for subject in subjects]


def _batches(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    for start in range(0, len(pairs), pdu.MOST_CONTEXTS):
        yield pairs[start : start + pdu.MOST_CONTEXTS]
