"""Is a DICOMweb service there, does it know us, and what does it offer? Nothing is stored by asking."""

from __future__ import annotations

import json
import time
from typing import Any

from uploads.pacs.address import WebPeer
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import PeerError, PeerTimeout
from uploads.pacs.probed import Finding, Probe, Subject
from uploads.pacs.reach import reach
from uploads.pacs.web import Answer, Link

QUICK = Deadlines(connect=5.0, negotiate=6.0, stall=5.0)
ANSWER_SECONDS = 10.0
LONGEST_STEP = QUICK.connect + QUICK.negotiate + ANSWER_SECONDS
MOST = 1 << 16

NOT_KNOWN_TO_IT = (401, 403)
NO_SUCH_SERVICE = (404, 405, 410, 501)
BOUNDARY = "relaypacs-nothing"
EMPTY = f"--{BOUNDARY}--\r\n".encode()
STORE_HEADERS = {
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
    "Accept": "application/dicom+json",
}
JSON = "application/dicom+json"
FILE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
UIDS = ("0020000D", "0020000E", "00080018")


def probe(peer: WebPeer, *, storing: bool = True, seconds: float) -> Probe:
    """Connect; POST a store request without a part (PS3.18 10.5); query for one study (10.6) and fetch an image (10.4).

    Trouble is a finding, never an exception; no step is begun that could end after `seconds`.
    """
    reached = reach(peer.host, peer.port, peer.tls, QUICK)
    prober = _Prober(peer, Deadline.after(seconds), list(reached.findings))
    if reached.ok:
        prober.everything(storing=storing)
    return Probe(tuple(prober.findings), (), reached.certificate_ends_at)


class _Prober:
    """One test of one service; each request goes over a connection of its own."""

    def __init__(self, peer: WebPeer, deadline: Deadline, findings: list[Finding]) -> None:
        self._peer = peer
        self._deadline = deadline
        self._statuses: list[int] = []
        self.findings = findings

    def everything(self, *, storing: bool) -> None:
        if storing:
            self._store()
        if self._query():
            self._fetch()
        self._credentials()

    def _store(self) -> None:
        """A service that stores answers an empty request with a complaint; one that does not, with "no such thing"."""
        began = time.monotonic()
        answer = self._asked("POST", "/studies")
        if isinstance(answer, PeerError):
            self._trouble(Subject.STOW, answer)
        elif answer.status in NO_SUCH_SERVICE or answer.status >= 500:
            self._note(Subject.STOW, False, answer, "There is no STOW-RS at this address.", began)
        elif answer.status in NOT_KNOWN_TO_IT:
            self._note(Subject.STOW, False, answer, "It does not let us store.", began)
        else:
            self._note(Subject.STOW, True, answer, "STOW-RS answers.", began)

    def _query(self) -> bool:
        began = time.monotonic()
        answer = self._asked("GET", "/studies?limit=1")
        if isinstance(answer, PeerError):
            self._trouble(Subject.QIDO, answer)
            return False
        ok = answer.status == 204 or (answer.status == 200 and _listed(answer) is not None)
        detail = "It answers queries (QIDO-RS)." if ok else "It answers no queries (QIDO-RS)."
        self._note(Subject.QIDO, ok, answer, detail, began)
        return ok

    def _fetch(self) -> None:
        """The head of one image is enough; where there is none it cannot be told."""
        found = self._asked("GET", "/instances?limit=1")
        uids = _uids(found) if isinstance(found, Answer) else None
        if uids is None:
            detail = "Whether images can be fetched back cannot be told: it lists none."
            self.findings.append(Finding(Subject.WADO, None, detail))
            return
        began = time.monotonic()
        answer = self._asked("GET", "/studies/{}/series/{}/instances/{}".format(*uids), accept=FILE, most=1)
        if isinstance(answer, PeerError):
            self._trouble(Subject.WADO, answer)
            return
        ok = answer.status == 200
        self._note(Subject.WADO, ok, answer, "Images can be fetched back." if ok else "It gives no image back.", began)

    def _credentials(self) -> None:
        if not self._statuses:
            return
        kept_out = [status for status in self._statuses if status in NOT_KNOWN_TO_IT]
        if kept_out:
            said = "It wants a sign-in." if self._peer.credentials is None else "It does not take our sign-in."
            self.findings.append(
                Finding(Subject.CREDENTIALS, False, f"{said} It answered {kept_out[0]}.", "not_allowed")
            )
        elif self._peer.credentials is not None:
            self.findings.append(Finding(Subject.CREDENTIALS, True, "It takes our sign-in, or wants none."))

    def _asked(self, method: str, what: str, *, accept: str = JSON, most: int = MOST) -> Answer | PeerError:
        if self._deadline.left() < LONGEST_STEP:
            return PeerTimeout("probe_out_of_time", "Not asked: the service took too long over a step before.")
        deadline = Deadline.after(ANSWER_SECONDS)
        target = f"{self._peer.path}{what}"
        try:
            with Link(self._peer, QUICK) as link:
                if method == "POST":
                    answer = link.post(
                        target, STORE_HEADERS, [[EMPTY]], length=len(EMPTY), deadline=deadline, most=most
                    )
                else:
                    answer = link.get(target, accept=accept, due=lambda _: deadline, most=most)
        except PeerError as trouble:
            if isinstance(trouble, PeerTimeout):
                self._deadline = Deadline.after(0.0)  # it would be as silent to the next question
            return trouble
        self._statuses.append(answer.status)
        return answer

    def _note(self, subject: Subject, ok: bool, answer: Answer, detail: str, began: float) -> None:
        milliseconds = (time.monotonic() - began) * 1000
        detail = f"{detail} It answered {answer.status}."
        self.findings.append(Finding(subject, ok, detail, "" if ok else f"http_{answer.status}", milliseconds))

    def _trouble(self, subject: Subject, trouble: PeerError) -> None:
        self.findings.append(Finding(subject, None, trouble.detail, trouble.code))


def _listed(answer: Answer) -> list[Any] | None:
    """A JSON list, as QIDO-RS answers with; None for anything else, or for one that is longer than was read."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, list) else None


def _uids(answer: Answer) -> tuple[str, ...] | None:
    """Study, series and instance of the first that it lists."""
    rows = _listed(answer)
    if not rows or not isinstance(rows[0], dict):
        return None
    try:
        found = tuple(str(rows[0][tag]["Value"][0]) for tag in UIDS)
    except (KeyError, IndexError, TypeError):
        return None
    return found if all(uid and set(uid) <= set("0123456789.") for uid in found) else None
