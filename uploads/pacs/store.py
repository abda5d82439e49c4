"""C-STORE: instances go from the pack to the socket as they are, one outcome for each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from uploads.pacs import command, pdu
from uploads.pacs.address import Peer
from uploads.pacs.association import Association, Message
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import PeerError
from uploads.pacs.outcomes import Outcome, classify, context_refused, odd_length, unanswered
from uploads.pacs.stream import Buffer, Source, SourceTruncated

DEFAULT_DEADLINES = Deadlines()
DEFLATED = "1.2.840.10008.1.2.1.99"


@dataclass(frozen=True, slots=True)
class Item:
    """One instance to store. `source` holds its data set only: no preamble, no file meta group."""

    key: Any
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source: Source

    @property
    def pair(self) -> tuple[str, str]:
        return self.sop_class_uid, self.transfer_syntax_uid


def _never() -> bool:
    return False


def store(
    peer: Peer,
    items: Sequence[Item],
    *,
    on_sending: Callable[[Item], None],
    on_outcome: Callable[[Item, Outcome], None],
    should_stop: Callable[[], bool] = _never,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> None:
    """Send `items` to `peer`, each announced by `on_sending` before its first octet and ended by `on_outcome`.

    An item whose presentation context is refused gets its outcome without being sent. Raises PeerError when the
    association cannot be had or is lost: the item under way then has got an UNKNOWN outcome, later ones have got
    none. Raises OSError (SourceTruncated) when the pack cannot be read, with the same promise. `should_stop` is
    asked between instances. PS3.4 Annex B, PS3.7 9.1.1.
    """
    for batch in _batches(items):
        if should_stop():
            return
        pairs = list(dict.fromkeys(item.pair for item in batch))
        proposals = [(sop_class, (syntax,)) for sop_class, syntax in pairs]
        with Association(peer, proposals, deadlines) as association:
            _Batch(association, pairs).send(batch, on_sending, on_outcome, should_stop)


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """One association carries 128 contexts, so further (SOP class, transfer syntax) pairs go over the next one."""
    ranks: dict[Hashable, int] = {}
    batches: dict[int, list[Item]] = {}
    for item in items:
        rank = ranks.setdefault(item.pair, len(ranks))
        batches.setdefault(rank // pdu.MOST_CONTEXTS, []).append(item)
    yield from batches.values()


class _Batch:
    """The items of one association; holds its buffer and its message ids."""

    def __init__(self, association: Association, pairs: list[tuple[str, str]]) -> None:
        self._association = association
        self._answers = dict(zip(pairs, association.answers, strict=True))
        self._buffer = Buffer(association.fragment)
        self._message_id = 0

    def send(
        self,
        items: list[Item],
        on_sending: Callable[[Item], None],
        on_outcome: Callable[[Item, Outcome], None],
        should_stop: Callable[[], bool],
    ) -> None:
        for item in items:
            if should_stop():
                return
            refused = self._refused(item)
            if refused is not None:
                on_outcome(item, refused)
                continue
            self._association.check_alive()
            on_sending(item)
            on_outcome(item, self._outcome(item, on_outcome))

    def _refused(self, item: Item) -> Outcome | None:
        answer = self._answers[item.pair]
        if answer.result != 0 or answer.transfer_syntax != item.transfer_syntax_uid:
            # An acceptance with a syntax that was not offered would make the peer misread every octet.
            return context_refused(item.sop_class_uid, item.transfer_syntax_uid, result=answer.result or 4)
        if self._odd(item) and item.transfer_syntax_uid != DEFLATED:
            return odd_length()
        return None

    def _odd(self, item: Item) -> bool:
        """Octets go as they are to whoever takes them; only for a peer that aborts on it is an odd length told."""
        return self._association.even_only and item.source.size % 2 == 1

    def _outcome(self, item: Item, on_outcome: Callable[[Item, Outcome], None]) -> Outcome:
        try:
            return self._store(item)
        except PeerError as trouble:
            on_outcome(item, unanswered(trouble.code))
            raise
        except OSError:
            on_outcome(item, unanswered("pack_unreadable"))
            raise

    def _store(self, item: Item) -> Outcome:
        self._message_id = self._message_id % 0xFFFF + 1
        deadline = Deadline.after(self._association.deadlines.for_instance(item.source.size))
        context_id = self._answers[item.pair].context_id
        request = command.encode(
            {
                command.AFFECTED_SOP_CLASS: item.sop_class_uid,
                command.COMMAND_FIELD: command.C_STORE_RQ,
                command.MESSAGE_ID: self._message_id,
                command.PRIORITY: command.MEDIUM,
                command.DATA_SET_TYPE: command.WITH_DATA_SET,
                command.AFFECTED_SOP_INSTANCE: item.sop_instance_uid,
            }
        )
        before = list(self._association.fragments(context_id, pdu.COMMAND, request))
        for parts in self._buffer.units(item.source, context_id, pad=self._odd(item)):
            self._association.send([*before, *parts], deadline)
            before = []
        answer = self._association.answer(command.C_STORE_RSP, message_id=self._message_id, deadline=deadline)
        return _judged(answer, item)


def _judged(answer: Message, item: Item) -> Outcome:
    named = command.text(answer.elements, command.AFFECTED_SOP_INSTANCE)
    if named and named != item.sop_instance_uid:
        return unanswered("answer_names_another_instance")
    return replace(
        classify(answer.status),
        comment=command.text(answer.elements, command.ERROR_COMMENT),
        error_id=command.number(answer.elements, command.ERROR_ID),
        offending=command.tags(answer.elements, command.OFFENDING_ELEMENT),
    )


__all__ = ["Item", "Source", "SourceTruncated", "store"]
