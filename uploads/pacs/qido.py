"""QIDO-RS at instance level: which instances of a study does the PACS say it has?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, urlencode

from uploads.pacs import dicomjson
from uploads.pacs.address import WebPeer
from uploads.pacs.deadlines import MEGABYTE, Deadline, Deadlines
from uploads.pacs.dicomjson import NotDicomJson, Object
from uploads.pacs.errors import FindUnsupported, PeerError, QueryRefused
from uploads.pacs.find import FindLimited, Found
from uploads.pacs.identifier import OPTIONAL_STUDY_KEYS, STUDY_KEYS, FoundInstance, FoundStudy
from uploads.pacs.refusals import refusal
from uploads.pacs.web import Answer, Link

DEFAULT_DEADLINES = Deadlines()
PAGE = 500
AT_ONCE = 32
"""SOP Instance UIDs in one query: 32 of 64 characters stay below the 4 KB that every server takes as an address."""
MOST_PAGES = 1_000
LONGEST_ANSWER = 32 * MEGABYTE
"""Some servers know no pages and name 20,000 instances at once."""

SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = "00080016", "00080018", "0020000D", "0020000E"
FRAMES, ROWS, COLUMNS = "00280008", "00280010", "00280011"
RETURN_KEYS = (SOP_CLASS, FRAMES, ROWS, COLUMNS)

NOTHING_THERE = (204, 404, 410)
UNSUPPORTED = (405, 406, 415, 501)
TOO_MUCH_ASKED = (413, 414, 431)


def find_instances(
    peer: WebPeer,
    study_instance_uid: str,
    series_instance_uids: Iterable[str],
    *,
    expected: Mapping[str, Sequence[str]] | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> Found:
    """SOPInstanceUID to what the peer says of it, by QIDO-RS (PS3.18 10.6), page by page and series by series.

    `expected` (series to SOP Instance UIDs) makes the answer firm: what the pages did not name is asked for by its
    UID. Raises FindUnsupported where the peer offers no QIDO-RS or no JSON, FindLimited where it cannot be told
    whether an instance is absent, and other PeerErrors.
    """
    with Link(peer, deadlines) as link:
        finder = _Finder(link, peer.path, study_instance_uid, deadlines)
        for series in series_instance_uids:
            finder.find_series(series, list((expected or {}).get(series, ())))
        return finder.found


def find_study(
    peer: WebPeer, study_instance_uid: str, *, deadlines: Deadlines = DEFAULT_DEADLINES
) -> FoundStudy | None:
    """Whose the peer says the study is, by one query at study level; None where it does not have it.

    Raises FindUnsupported and other PeerErrors as above.
    """
    keys = STUDY_KEYS | OPTIONAL_STUDY_KEYS
    pairs = [("StudyInstanceUID", study_instance_uid), *(("includefield", keyword) for keyword in keys)]
    with Link(peer, deadlines) as link:
        until = Deadline.after(deadlines.answer)
        answer = link.get(
            f"{peer.path}/studies?{urlencode(pairs)}",
            accept=dicomjson.MEDIA_TYPE,
            due=lambda _: until,
            most=LONGEST_ANSWER,
        )
    if answer.status in NOTHING_THERE:
        return None
    if answer.status in UNSUPPORTED:
        raise FindUnsupported("find_unsupported", f"The PACS offers no QIDO-RS ({answer.status}).")
    if answer.status != 200:
        raise refusal(answer.status, answer.headers)
    return _study(answer.body, study_instance_uid)


def _study(body: bytes, study_instance_uid: str) -> FoundStudy | None:
    try:
        named = [one for one in dicomjson.objects(body) if dicomjson.text(one, STUDY) == study_instance_uid]
    except NotDicomJson as error:
        raise QueryRefused("find_failed", "The PACS sent an answer that is no DICOM JSON.", bounded=True) from error
    keys = {
        keyword: f"{group:04X}{number:04X}" for keyword, (group, number) in (STUDY_KEYS | OPTIONAL_STUDY_KEYS).items()
    }
    studies = [
        {keyword: dicomjson.person_or_text(one, tag) for keyword, tag in keys.items() if tag in one} for one in named
    ]
    if not studies:
        return None
    return FoundStudy(studies[0], ambiguous=any(study != studies[0] for study in studies))


class _Finder:
    """The queries of one study over one connection."""

    def __init__(self, link: Link, path: str, study: str, deadlines: Deadlines) -> None:
        self._link = link
        self._path = path
        self._study = study
        self._pause = deadlines.answer
        self._whole = Deadline.after(deadlines.find)
        self._bare = False
        self.found: Found = {}

    def find_series(self, series: str, expected: list[str]) -> None:
        empty = not self._find_pages(series, expected)
        missing = self._missing(expected)
        if empty and missing:
            self._find_alone(series, missing[0])
            if missing[0] not in self.found:
                return
        for start in range(0, len(missing), AT_ONCE):
            self._find_listed(series, self._missing(missing[start : start + AT_ONCE]))

    def _missing(self, uids: Iterable[str]) -> list[str]:
        return [uid for uid in uids if uid not in self.found]

    def _find_pages(self, series: str, expected: list[str]) -> int:
        """How many the pages name. A page may end anywhere, so only one that brings nothing new is the last."""
        offset = 0
        for _ in range(MOST_PAGES):
            page = self._ask(series, {"limit": str(PAGE), "offset": str(offset)})
            new = self._missing(page)
            self.found |= page
            offset += len(page)
            if not new or self._bare or (expected and not self._missing(expected)):
                return offset
        raise QueryRefused("find_endless", "The PACS does not stop answering.", bounded=True)

    def _find_listed(self, series: str, uids: list[str]) -> None:
        """A list finds many at once but proves no absence: servers cut answers, or match no lists."""
        if len(uids) > 1:
            self.found |= self._ask(series, {SOP_INSTANCE: ",".join(uids)}, divisible=True)
        missing = self._missing(uids)
        if 0 < len(missing) < len(uids):
            self._find_listed(series, missing)
        else:
            for uid in missing:
                self._find_alone(series, uid)

    def _find_alone(self, series: str, uid: str) -> None:
        page = self._ask(series, {SOP_INSTANCE: uid})
        self.found |= page
        if page and uid not in page:
            raise FindLimited(self.found)  # it does not match by UID: what it leaves out may be there

    def _ask(self, series: str, query: dict[str, str], *, divisible: bool = False) -> Found:
        """One query; where the peer refuses our optional parameters, once more without them."""
        answer = self._get(series, query)
        if answer.status == 400 and not self._bare:
            self._bare = True
            answer = self._get(series, query)
        if answer.status in NOTHING_THERE or (divisible and answer.status in (400, *TOO_MUCH_ASKED)):
            return {}
        if answer.status in UNSUPPORTED:
            raise FindUnsupported("find_unsupported", f"The PACS offers no QIDO-RS ({answer.status}).")
        if answer.status != 200:
            raise _refused(answer)
        return self._read(answer.body, series)

    def _get(self, series: str, query: dict[str, str]) -> Answer:
        asked = {name: value for name, value in query.items() if not self._bare or name == SOP_INSTANCE}
        pairs = [*asked.items()] + [("includefield", key) for key in RETURN_KEYS if not self._bare]
        target = f"{self._path}/studies/{quote(self._study)}/series/{quote(series)}/instances"
        return self._link.get(
            f"{target}?{urlencode(pairs, safe=',')}" if pairs else target,
            accept=dicomjson.MEDIA_TYPE,
            due=self._due,
            most=LONGEST_ANSWER,
        )

    def _due(self, _: int) -> Deadline:
        return Deadline.after(min(self._pause, self._whole.left()))

    def _read(self, body: bytes, series: str) -> Found:
        try:
            named = [self._instance(one, series) for one in dicomjson.objects(body)]
        except NotDicomJson:
            detail = "The PACS answers the query with octets that are no DICOM JSON."
            raise QueryRefused("find_unreadable", detail, bounded=True) from None
        return {one.sop_instance_uid: one for one in named if one.sop_instance_uid}

    def _instance(self, one: Object, series: str) -> FoundInstance:
        return FoundInstance(
            sop_instance_uid=dicomjson.text(one, SOP_INSTANCE),
            series_instance_uid=dicomjson.text(one, SERIES) or series,
            study_instance_uid=dicomjson.text(one, STUDY) or self._study,
            sop_class_uid=dicomjson.text(one, SOP_CLASS) or None,
            number_of_frames=dicomjson.number(one, FRAMES),
            rows=dicomjson.number(one, ROWS),
            columns=dicomjson.number(one, COLUMNS),
        )


def _refused(answer: Answer) -> PeerError:
    """Some refusals are of the service as a whole; the others say nothing about storing."""
    trouble = refusal(answer.status, answer.headers)
    if trouble.bounded:
        return QueryRefused("find_failed", f"The PACS refuses the query ({answer.status}).", bounded=True)
    return trouble
