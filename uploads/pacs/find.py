"""C-FIND: which instances of a study does the PACS say it has, and whose does it say the study is?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydicom.uid import ImplicitVRLittleEndian

from uploads.pacs import command
from uploads.pacs.address import Peer
from uploads.pacs.association import Association
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import FindUnsupported, QueryRefused
from uploads.pacs.identifier import FoundInstance, FoundStudy, image_query, read, read_study, study_query

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
DEFAULT_DEADLINES = Deadlines()

SUCCESS = 0x0000
PENDING = (0xFF00, 0xFF01)
CANCELLED = 0xFE00
OUT_OF_RESOURCES = 0xA700
NOT_SUPPORTED = (0x0112, 0x0122, 0x0211)
AT_ONCE = 64
"""SOP Instance UIDs in one query by list: 64 UIDs of 64 characters stay far below any peer's limit."""
MOST_ANSWERS = 200_000

Found = dict[str, FoundInstance]


class FindLimited(QueryRefused):
    """The peer stopped before it had named all matches; `found` is what it named. Absence from it proves nothing."""

    def __init__(self, found: Found) -> None:
        super().__init__("find_limited", "The PACS did not list all images of the study.", bounded=True)
        self.found = found


def find_instances(
    peer: Peer,
    study_instance_uid: str,
    series_instance_uids: Iterable[str],
    *,
    expected: Mapping[str, Sequence[str]] | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> Found:
    """SOPInstanceUID to what the peer says of it, by Study Root C-FIND (PS3.4 C.4.1), one query per series.

    `expected` (series to SOP Instance UIDs) makes the answer firm: what a series query did not name is asked for
    by its UID, because many peers end a long list early, with or without saying so. Raises FindUnsupported where
    the peer offers no Study Root C-FIND, FindLimited where its list ended early and `expected` could not mend it,
    and other PeerErrors.
    """
    with Association(peer, [(STUDY_ROOT_FIND, (ImplicitVRLittleEndian,))], deadlines) as association:
        if association.answers[0].result != 0:
            raise FindUnsupported("find_unsupported", "The PACS offers no C-FIND (Study Root).")
        finder = _Finder(association, study_instance_uid)
        for series in series_instance_uids:
            finder.find_series(series, list((expected or {}).get(series, ())))
        return finder.found


def find_study(peer: Peer, study_instance_uid: str, *, deadlines: Deadlines = DEFAULT_DEADLINES) -> FoundStudy | None:
    """Whose the peer says the study is, by one Study Root C-FIND at study level; None where it does not have it.

    Raises FindUnsupported and other PeerErrors as above.
    """
    with Association(peer, [(STUDY_ROOT_FIND, (ImplicitVRLittleEndian,))], deadlines) as association:
        if association.answers[0].result != 0:
            raise FindUnsupported("find_unsupported", "The PACS offers no C-FIND (Study Root).")
        return _Finder(association, study_instance_uid).find_study()


@dataclass(frozen=True, slots=True)
class _Ending:
    """How one query ended: all said, cut short, or refused."""

    status: int

    @property
    def complete(self) -> bool:
        return self.status == SUCCESS

    @property
    def cut_short(self) -> bool:
        return self.status in (CANCELLED, OUT_OF_RESOURCES)


class _Finder:
    """The queries of one study over one association."""

    def __init__(self, association: Association, study_instance_uid: str) -> None:
        self._association = association
        self._study = study_instance_uid
        self._deadline = Deadline.after(association.deadlines.find)
        self._message_id = 0
        self._bare = False
        self.found: Found = {}

    def find_study(self) -> FoundStudy | None:
        entries: list[FoundStudy] = []

        def note(octets: bytes) -> None:
            study = read_study(octets, study=self._study)
            if study is not None and study not in entries:
                entries.append(study)

        ending = self._query(lambda: study_query(self._study, bare=self._bare), note)
        if entries:
            return replace(entries[0], ambiguous=len(entries) > 1)
        if not ending.complete:
            raise _failed(ending.status)
        return None

    def find_series(self, series: str, expected: list[str]) -> None:
        ending = self._query_images(series, [])
        if ending.complete or expected:
            self._find_missing(series, [uid for uid in expected if uid not in self.found])
        elif ending.cut_short:
            raise FindLimited(self.found)
        else:
            raise _failed(ending.status)

    def _find_missing(self, series: str, missing: list[str]) -> None:
        for start in range(0, len(missing), AT_ONCE):
            self._find_listed(series, missing[start : start + AT_ONCE])

    def _find_listed(self, series: str, uids: list[str]) -> None:
        """Ask for a list of UIDs until each is found or known to be absent."""
        ending = self._query_images(series, uids)
        missing = [uid for uid in uids if uid not in self.found]
        if not ending.complete and len(uids) == 1 and missing:
            raise _failed(ending.status)
        if not ending.complete:
            self._find_parts(series, _halves(missing))
        elif 0 < len(missing) < len(uids):
            self._find_listed(series, missing)
        elif len(missing) > 1:
            self._probe(series, missing)

    def _probe(self, series: str, missing: list[str]) -> None:
        """None of a list was named: either all are absent, or this peer matches single UIDs but no lists of them."""
        self._find_listed(series, missing[:1])
        if missing[0] in self.found:
            self._find_parts(series, [[uid] for uid in missing[1:]])

    def _find_parts(self, series: str, parts: list[list[str]]) -> None:
        for part in parts:
            self._find_listed(series, part)

    def _query_images(self, series: str, uids: list[str]) -> _Ending:
        def note(octets: bytes) -> None:
            instance = read(octets, study=self._study, series=series)
            if instance is not None:
                self.found[instance.sop_instance_uid] = instance

        return self._query(lambda: image_query(self._study, series, uids, bare=self._bare), note)

    def _query(self, identifier: Callable[[], bytes], note: Callable[[bytes], None]) -> _Ending:
        """One query; where the peer refuses our optional keys, once more with the others alone."""
        ending = self._ask(identifier(), note)
        if ending.complete or ending.cut_short or self._bare:
            return ending
        self._bare = True
        return self._ask(identifier(), note)

    def _ask(self, identifier: bytes, note: Callable[[bytes], None]) -> _Ending:
        self._message_id = self._message_id % 0xFFFF + 1
        request: dict[int, int | str] = {
            command.AFFECTED_SOP_CLASS: STUDY_ROOT_FIND,
            command.COMMAND_FIELD: command.C_FIND_RQ,
            command.MESSAGE_ID: self._message_id,
            command.PRIORITY: command.MEDIUM,
            command.DATA_SET_TYPE: command.WITH_DATA_SET,
        }
        self._association.request(self._association.answers[0].context_id, request, identifier, self._deadline)
        return self._gather(note)

    def _gather(self, note: Callable[[bytes], None]) -> _Ending:
        for _ in range(MOST_ANSWERS):
            pause = Deadline.after(min(self._association.deadlines.answer, self._deadline.left()))
            message = self._association.answer(command.C_FIND_RSP, message_id=self._message_id, deadline=pause)
            status = message.status
            if status in NOT_SUPPORTED:
                raise FindUnsupported("find_unsupported", "The PACS does not support C-FIND (Study Root).")
            if status not in PENDING:
                return _Ending(status if status is not None else CANCELLED)
            note(message.data_set or b"")
        raise QueryRefused("find_endless", "The PACS does not stop answering.", bounded=True)


def _failed(status: int) -> QueryRefused:
    if status in (CANCELLED, OUT_OF_RESOURCES):
        return QueryRefused("find_out_of_resources", f"The PACS cannot answer the query just now ({status:04X}).")
    return QueryRefused("find_failed", f"The PACS refuses the query ({status:04X}).", bounded=True)


def _halves(uids: list[str]) -> list[list[str]]:
    middle = (len(uids) + 1) // 2
    return [part for part in (uids[:middle], uids[middle:]) if part]
