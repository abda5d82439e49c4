"""STOW-RS: instances go from the pack into the body of a request as they are, one outcome for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from uploads.pacs import dicomjson, part10, stowanswer
from uploads.pacs.address import WebPeer
from uploads.pacs.crew import Crew, Lane, never
from uploads.pacs.deadlines import MEGABYTE, Deadline, Deadlines
from uploads.pacs.errors import PeerError
from uploads.pacs.multipart import Frame
from uploads.pacs.outcomes import Kind, Outcome, classify, turned_away, unanswered
from uploads.pacs.refusals import BUSY, refusal
from uploads.pacs.store import Item
from uploads.pacs.stream import Refill
from uploads.pacs.web import Answer, Link
from uploads.pacs.wire import Octets

DEFAULT_DEADLINES = Deadlines()
BATCH_BYTES = 16 * MEGABYTE
MOST_ITEMS = 2_000
"""Per request: its answer names each of them, and is held in memory."""
LONGEST_ANSWER = 8 * MEGABYTE
AHEAD = 10
"""Batches announced without an outcome yet: more than there are ever lanes, so that no lane waits."""

ANSWERED_EACH = (200, 202, 400, 409)
"""The body tells of each instance: Orthanc says 400 where one part was no DICOM, and yet stores the others."""
TOO_LARGE, MEDIA_REFUSED, OUT_OF_SPACE = 413, 415, 507

TOO_LARGE_FOR_PEER = turned_away(Kind.REFUSED, "too_large_for_peer", "The PACS takes no image of this size.")
MEDIA_TYPE_REFUSED = turned_away(
    Kind.REFUSED, "media_type_refused", "The PACS does not take this type of image or its encoding."
)
PEER_BUSY = turned_away(Kind.RETRY, "peer_busy", "The PACS was too busy for it; it is tried again.")

Batch = list[Item]
Told = list[tuple[Item, Outcome]]


def store(
    peer: WebPeer,
    items: Sequence[Item],
    *,
    on_sending: Callable[[Item], None],
    on_outcome: Callable[[Item, Outcome], None],
    should_stop: Callable[[], bool] = never,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    lanes: int | Callable[[], int] = 1,
    batch_bytes: int = BATCH_BYTES,
    ahead: int = AHEAD,
) -> None:
    """Send `items` to `peer`, each announced by `on_sending` before its first octet and ended by `on_outcome`.

    They go in requests of about `batch_bytes`. `lanes`: connections side by side, at most; a function is asked again
    while it sends. `ahead`: requests whose items may be announced without an outcome yet. Callbacks run in the
    calling thread. Raises PeerError when the service refuses, no connection can be had, or all are lost before all is
    sent: items of which an octet has gone then have got an outcome (UNKNOWN where it is in doubt), others none.
    Raises OSError (SourceTruncated) when the pack cannot be read, with the same promise. `should_stop` is asked
    between requests. PS3.18 10.5.
    """
    said: list[PeerError] = []

    def announce(batch: Batch) -> None:
        for item in batch:
            on_sending(item)

    def hear(_: Batch, told: Told) -> None:
        with ExitStack() as every:  # whatever one of them raises, the others are heard
            for item, outcome in reversed(told):
                every.callback(on_outcome, item, outcome)

    def work(lane: Lane[Batch, Told]) -> None:
        with Link(peer, deadlines) as link:
            lane.connection = link
            _Sender(peer, link, deadlines, said).send(lane)

    crew = Crew(
        cut(items, batch_bytes),
        work,
        wanted=lanes if callable(lanes) else lambda: lanes,
        on_sending=announce,
        on_outcome=hear,
        should_stop=lambda: bool(said) or should_stop(),
        ahead=ahead,
    )
    try:
        crew.run()
    except PeerError:
        if not said:
            raise
    if said:  # what the service says tells more than how another lane fared because of it
        raise said[0]


def cut(items: Sequence[Item], octets: int) -> Iterator[Batch]:
    """Batches of at most so many octets of data sets; an item that is larger goes alone."""
    batch: Batch = []
    room = octets
    for item in items:
        if batch and (item.source.size > room or len(batch) == MOST_ITEMS):
            yield batch
            batch, room = [], octets
        batch.append(item)
        room -= item.source.size
    if batch:
        yield batch


class _Sender:
    """One connection at work, with its buffer; `said` is where it tells the others that the service refuses."""

    def __init__(self, peer: WebPeer, link: Link, deadlines: Deadlines, said: list[PeerError]) -> None:
        self._target = f"{peer.path}/studies"
        self._link = link
        self._deadlines = deadlines
        self._said = said
        self._refill = Refill()
        self._most: int | None = None
        """Octets in a request, once the peer has found one too large."""

    def send(self, lane: Lane[Batch, Told]) -> None:
        while (batch := lane.take()) is not None:
            told: Told = []
            waiting = [batch] if self._most is None else list(cut(batch, self._most))
            try:
                self._send_all(waiting, told, lane)
            except (PeerError, OSError):
                lane.tell_last(batch, told)
                rest = [item for part in waiting for item in part]
                if rest:
                    lane.give_back(rest)
                raise
            lane.tell(batch, told)

    def _send_all(self, waiting: list[Batch], told: Told, lane: Lane[Batch, Told]) -> None:
        """Request after request; `waiting` always holds what was not sent, or was refused as too much at once."""
        while waiting:
            batch = waiting.pop(0)
            begun: Batch = []
            try:
                answer = self._post(batch, begun, lane)
            except (PeerError, OSError) as trouble:
                waiting.insert(0, batch[len(begun) :])
                reason = trouble.code if isinstance(trouble, PeerError) else "pack_unreadable"
                told += [(item, unanswered(reason)) for item in begun]
                raise
            if len(batch) > 1 and answer.status == TOO_LARGE:
                self._most = sum(item.source.size for item in batch) // 2
                waiting[:] = [piece for part in (batch, *waiting) for piece in cut(part, self._most)]
            elif len(batch) > 1 and answer.status == MEDIA_REFUSED:
                waiting[:0] = _halves(batch)
            else:
                waiting.insert(0, batch[len(begun) :])
                self._judge(answer, begun, told)
            waiting[:] = [part for part in waiting if part]

    def _post(self, batch: Batch, begun: Batch, lane: Lane[Batch, Told]) -> Answer:
        frame = Frame()
        heads = [_head(frame, index, item) for index, item in enumerate(batch)]
        size = sum(len(head) + item.source.size for head, item in zip(heads, batch, strict=True)) + len(frame.end)
        lane.deadline = Deadline.after(self._deadlines.for_instance(size))
        return self._link.post(
            self._target,
            {"Content-Type": frame.content_type, "Accept": dicomjson.MEDIA_TYPE},
            self._parts(frame, heads, batch, begun),
            length=size,
            deadline=lane.deadline,
            most=LONGEST_ANSWER,
        )

    def _parts(self, frame: Frame, heads: list[bytes], batch: Batch, begun: Batch) -> Iterator[list[Octets]]:
        for head, item in zip(heads, batch, strict=True):
            begun.append(item)
            before = [head]
            for piece in self._refill.pieces(item.source):
                yield [*before, piece]
                before = []
        yield [frame.end]

    def _judge(self, answer: Answer, begun: Batch, told: Told) -> None:
        """What status and body of the answer mean for what was sent; raise where the service refuses all."""
        if answer.status in ANSWERED_EACH:
            told += _each(answer, begun)
            return
        if answer.status in (TOO_LARGE, MEDIA_REFUSED):
            outcome = TOO_LARGE_FOR_PEER if answer.status == TOO_LARGE else MEDIA_TYPE_REFUSED
            told += [(item, outcome) for item in begun]
            return
        trouble = refusal(answer.status, answer.headers)
        if answer.status == OUT_OF_SPACE:
            told += [(item, _out_of_space(outcome)) for item, outcome in _each(answer, begun)]
        elif answer.status in BUSY:
            told += [(item, PEER_BUSY) for item in begun]
        elif trouble.kind is Kind.PAUSE:
            told += [(item, turned_away(Kind.PAUSE, trouble.code, trouble.detail)) for item in begun]
        else:
            told += [(item, unanswered(f"http_{answer.status}")) for item in begun]
        self._said.append(trouble)
        raise trouble


def _halves(batch: Batch) -> list[Batch]:
    """Nothing was stored of a request that one of its instances has spoilt for the others."""
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


def _each(answer: Answer, begun: Batch) -> Told:
    outcomes = stowanswer.read(answer.body, [item.sop_instance_uid for item in begun])
    return [(item, outcomes[item.sop_instance_uid]) for item in begun]


def _out_of_space(outcome: Outcome) -> Outcome:
    """Where the answer does not speak of an instance by itself, its 507 does."""
    return classify(0xA700) if outcome.kind is Kind.UNKNOWN else outcome


def _head(frame: Frame, index: int, item: Item) -> bytes:
    return frame.before(index) + part10.head(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
    )
