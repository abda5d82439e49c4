"""C-STORE: instances go from the pack to the socket as they are, one outcome for each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from uploads.pacs import command, pdu
from uploads.pacs.address import Peer
from uploads.pacs.association import Association
from uploads.pacs.conversation import Message
from uploads.pacs.crew import AHEAD, Crew, Lane, never
from uploads.pacs.deadlines import Deadline, Deadlines
from uploads.pacs.errors import PeerError
from uploads.pacs.outcomes import Outcome, odd_length, unanswered
from uploads.pacs.rules import DEFAULT_RULES, Rules
from uploads.pacs.stream import Buffer, Source, SourceTruncated

DEFAULT_DEADLINES = Deadlines()
DEFLATED = "1.2.840.10008.1.2.1.99"


Pair = tuple[str, str]
"""SOP class and transfer syntax: what a presentation context is made of."""


@dataclass(frozen=True, slots=True)
class Item:
    """One instance to store. `source` holds its data set only: no preamble, no file meta group."""

    key: Any
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source: Source

    @property
    def pair(self) -> Pair:
        return self.sop_class_uid, self.transfer_syntax_uid


def store(
    peer: Peer,
    items: Sequence[Item],
    *,
    on_sending: Callable[[Item], None],
    on_outcome: Callable[[Item, Outcome], None],
    should_stop: Callable[[], bool] = never,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    lanes: int | Callable[[], int] = 1,
    ahead: int = AHEAD,
    rules: Rules = DEFAULT_RULES,
) -> None:
    """Send `items` to `peer`, each announced by `on_sending` before its first octet and ended by `on_outcome`.

    `lanes`: associations side by side, at most; a function is asked again while it sends. `ahead`: items that may be
    announced without an outcome yet. Callbacks run in the calling thread. An item whose presentation context is
    refused gets its outcome without being sent. Raises PeerError when no association can be had or all are lost
    before all is sent: items under way then have got an UNKNOWN outcome, later ones have got none. Raises OSError
    (SourceTruncated) when the pack cannot be read, with the same promise. `should_stop` is asked between instances.
    `rules` are what the peer's answers mean. PS3.4 Annex B, PS3.7 9.1.1.
    """
    wanted = lanes if callable(lanes) else lambda: lanes
    for batch in _batches(items):
        if should_stop():
            return
        pairs = list(dict.fromkeys(item.pair for item in batch))
        Crew(
            batch,
            partial(_lane, peer, pairs, deadlines, rules),
            wanted=wanted,
            on_sending=on_sending,
            on_outcome=on_outcome,
            should_stop=should_stop,
            ahead=ahead,
        ).run()


def _lane(peer: Peer, pairs: list[Pair], deadlines: Deadlines, rules: Rules, lane: Lane[Item, Outcome]) -> None:
    """One association, and what goes over it."""
    proposals = [(sop_class, (syntax,)) for sop_class, syntax in pairs]
    with Association(peer, proposals, deadlines) as association:
        lane.connection = association
        _Sender(association, pairs, rules).send(lane)


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """One association carries 128 contexts, so further (SOP class, transfer syntax) pairs go over the next one."""
    ranks: dict[Hashable, int] = {}
    batches: dict[int, list[Item]] = {}
    for item in items:
        rank = ranks.setdefault(item.pair, len(ranks))
        batches.setdefault(rank // pdu.MOST_CONTEXTS, []).append(item)
    yield from batches.values()


class _Sender:
    """One association at work; holds its buffer and its message ids."""

    def __init__(self, association: Association, pairs: list[Pair], rules: Rules) -> None:
        self._association = association
        self._rules = rules
        self._answers = dict(zip(pairs, association.answers, strict=True))
        self._buffer = Buffer(association.fragment)
        self._message_id = 0

    def send(self, lane: Lane[Item, Outcome]) -> None:
        while (item := lane.take()) is not None:
            refused = self._refused(item)
            if refused is None:
                self._check_alive(item, lane)
            lane.tell(item, refused or self._outcome(item, lane))

    def _check_alive(self, item: Item, lane: Lane[Item, Outcome]) -> None:
        try:
            self._association.check_alive()
        except PeerError:
            lane.give_back(item)
            raise

    def _refused(self, item: Item) -> Outcome | None:
        answer = self._answers[item.pair]
        if answer.result != 0 or answer.transfer_syntax != item.transfer_syntax_uid:
            # An acceptance with a syntax that was not offered would make the peer misread every octet.
            return self._rules.context_refused(*item.pair, result=answer.result or 4)
        if self._odd(item) and item.transfer_syntax_uid != DEFLATED:
            return odd_length()
        return None

    def _odd(self, item: Item) -> bool:
        """Octets go as they are to whoever takes them; only for a peer that aborts on it is an odd length told."""
        return self._association.even_only and item.source.size % 2 == 1

    def _outcome(self, item: Item, lane: Lane[Item, Outcome]) -> Outcome:
        try:
            lane.deadline = Deadline.after(self._association.deadlines.for_instance(item.source.size))
            return self._store(item, lane.deadline)
        except PeerError as trouble:
            lane.tell_last(item, unanswered(trouble.code))
            raise
        except OSError:
            lane.tell_last(item, unanswered("pack_unreadable"))
            raise

    def _store(self, item: Item, deadline: Deadline) -> Outcome:
        self._message_id = self._message_id % 0xFFFF + 1
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
        return _judged(answer, item, rules=self._rules)


def _judged(answer: Message, item: Item, *, rules: Rules) -> Outcome:
    named = command.text(answer.elements, command.AFFECTED_SOP_INSTANCE)
    if named and named != item.sop_instance_uid:
        return unanswered("answer_names_another_instance")
    outcome = replace(
        rules.classify(answer.status),
        comment=command.text(answer.elements, command.ERROR_COMMENT),
        error_id=command.number(answer.elements, command.ERROR_ID),
        offending=command.tags(answer.elements, command.OFFENDING_ELEMENT),
    )
    return rules.skip(outcome, item.sop_class_uid) or outcome


__all__ = ["Item", "Source", "SourceTruncated", "store"]
