"""C-GET at image level: instances come back over our own association and are hashed as they pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.uid import ImplicitVRLittleEndian

from uploads.pacs import command, pdu
from uploads.pacs.address import Peer
from uploads.pacs.association import Association, answering
from uploads.pacs.conversation import Message
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import GetUnsupported, PeerError
from uploads.pacs.fetched import Digest, Fetched, Wanted
from uploads.pacs.identifier import image_query

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
DEFAULT_DEADLINES = Deadlines()

SUCCESS = 0x0000
SOME_FAILED = 0xB000
PENDING = (0xFF00, 0xFF01)
OUT_OF_RESOURCES = (0xA701, 0xA702, 0xFE00)
NOT_SUPPORTED = (0x0112, 0x0122, 0x0211)
AT_ONCE = 64
"""SOP Instance UIDs in one request."""
MESSAGES_EACH = 8
"""Messages from the peer for each instance asked for, before it counts as endless; two are usual."""

Pair = tuple[str, str]


def fetch(peer: Peer, wanted: Sequence[Wanted], *, deadlines: Deadlines = DEFAULT_DEADLINES) -> dict[str, Fetched]:
    """SOP Instance UID to what the peer gave, by Study Root C-GET (PS3.4 C.4.3); what is absent it did not give.

    Each (SOP class, transfer syntax) has a context of its own, so that the octets come as they were sent or not at
    all. Nothing is held or written. Raises GetUnsupported where the peer offers no C-GET, or will not send us any
    of these classes; and other PeerErrors, one of them where it refused and gave nothing at all: many a peer refuses
    when it is asked for an instance that it does not have.
    """
    fetched: dict[str, Fetched] = {}
    refusals: list[PeerError] = []
    for pairs, batch in _batches(wanted):
        proposals = [(STUDY_ROOT_GET, (str(ImplicitVRLittleEndian),)), *((uid, (syntax,)) for uid, syntax in pairs)]
        with Association(peer, proposals, deadlines, as_scp=dict.fromkeys(uid for uid, _ in pairs)) as association:
            if association.answers[0].result != 0:
                raise GetUnsupported("get_unsupported", "The PACS offers no C-GET (Study Root).")
            getter = _Getter(association, pairs)
            getter.get_all(batch)
            fetched |= getter.fetched
            refusals += getter.refusals
    if refusals and not fetched:
        raise refusals[-1]
    return fetched


def _batches(wanted: Sequence[Wanted]) -> Iterator[tuple[list[Pair], list[Wanted]]]:
    """One association carries 128 contexts, one of them for C-GET itself."""
    pairs = list(dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in wanted))
    for start in range(0, len(pairs), pdu.MOST_CONTEXTS - 1):
        some = pairs[start : start + pdu.MOST_CONTEXTS - 1]
        yield some, [one for one in wanted if (one.sop_class_uid, one.transfer_syntax_uid) in set(some)]


def by_series(wanted: Sequence[Wanted]) -> Iterator[tuple[str, str, list[str]]]:
    """Study, series and a list of instances for each request: above the image level a key has one value (C.4.3.1.3)."""
    series: dict[tuple[str, str], list[str]] = {}
    for one in wanted:
        series.setdefault((one.study_instance_uid, one.series_instance_uid), []).append(one.sop_instance_uid)
    for (study, uid), instances in series.items():
        for start in range(0, len(instances), AT_ONCE):
            yield study, uid, instances[start : start + AT_ONCE]


class _Getter:
    """The requests of one association; `syntaxes` has the contexts over which the peer may send."""

    def __init__(self, association: Association, pairs: Sequence[Pair]) -> None:
        self._association = association
        self._digest = Digest("")
        self._message_id = 0
        usable = zip(pairs, association.answers[1:], strict=True)
        self.syntaxes = {
            answer.context_id: syntax
            for (_, syntax), answer in usable
            if answer.result == 0 and answer.as_scp and answer.transfer_syntax == syntax
        }
        self.fetched: dict[str, Fetched] = {}
        self.refusals: list[PeerError] = []

    def get_all(self, wanted: Sequence[Wanted]) -> None:
        if not self.syntaxes:
            self.refusals.append(GetUnsupported("get_unsupported", "The PACS sends no images over our association."))
            return
        for study, series, instances in by_series(wanted):
            refusal = self._get(study, series, instances)
            if refusal is not None and len(instances) > 1:
                # Orthanc gives nothing of a list where it lacks one: so the rest is asked for one by one.
                left = [uid for uid in instances if uid not in self.fetched]
                refusals = [self._get(study, series, [uid]) for uid in left]
                self.refusals += [one for one in refusals if one is not None]
            elif refusal is not None:
                self.refusals.append(refusal)

    def _get(self, study: str, series: str, instances: list[str]) -> PeerError | None:
        """One request: its instances go to `fetched`; what is answered is how it was refused, if it was."""
        self._message_id = self._message_id % 0xFFFF + 1
        request: dict[int, command.Value] = {
            command.AFFECTED_SOP_CLASS: STUDY_ROOT_GET,
            command.COMMAND_FIELD: command.C_GET_RQ,
            command.MESSAGE_ID: self._message_id,
            command.PRIORITY: command.MEDIUM,
            command.DATA_SET_TYPE: command.WITH_DATA_SET,
        }
        query = image_query(study, series, instances, bare=True)
        deadline = Deadline.after(self._association.deadlines.answer)
        self._association.request(self._association.answers[0].context_id, request, query, deadline)
        for _ in range(MESSAGES_EACH * len(instances) + MESSAGES_EACH):
            deadline = Deadline.after(self._association.deadlines.instance)
            message = self._association.message(deadline, sinks=self._sink)
            if message.field == command.C_STORE_RQ:
                self._take(message, set(instances))
                continue
            status = answering(message, command.C_GET_RSP, self._message_id).status
            if status not in PENDING:
                return _refusal(status)
        raise PeerError("get_endless", "The PACS does not stop sending.", bounded=True)

    def _sink(self, message: Message) -> Digest | None:
        if message.field != command.C_STORE_RQ:
            return None
        if message.context_id not in self.syntaxes:
            raise pdu.garbled("C-STORE over a context that was not agreed on")
        self._digest = Digest(self.syntaxes[message.context_id])
        return self._digest

    def _take(self, message: Message, asked: set[str]) -> None:
        instance = message.text(command.AFFECTED_SOP_INSTANCE)
        if instance in asked and message.context_id in self.syntaxes:
            self.fetched[instance] = self._digest.fetched(instance)
        self._association.reply(message, SUCCESS, Deadline.after(self._association.deadlines.answer))


def _refusal(status: int | None) -> PeerError | None:
    if status in (SUCCESS, SOME_FAILED):
        return None
    if status in NOT_SUPPORTED:
        raise GetUnsupported("get_unsupported", "The PACS does not support C-GET (Study Root).")
    if status in OUT_OF_RESOURCES:
        return PeerError("get_out_of_resources", f"The PACS cannot send images just now ({status:04X}).")
    return PeerError("get_failed", f"The PACS refuses to send images ({status:04X}).", bounded=True)
