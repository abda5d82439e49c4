"""One verb for each thing a delivery asks of a PACS, whichever protocol its address names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from uploads.pacs import find as dimse_find
from uploads.pacs import qido, stow
from uploads.pacs import store as dimse_store
from uploads.pacs.address import Target, WebPeer
from uploads.pacs.deadlines import Deadlines
from uploads.pacs.find import Found
from uploads.pacs.identifier import FoundStudy
from uploads.pacs.outcomes import Outcome
from uploads.pacs.rules import DEFAULT_RULES, Rules
from uploads.pacs.store import Item

DEFAULT_DEADLINES = Deadlines()


def store(
    target: Target,
    items: Sequence[Item],
    *,
    on_sending: Callable[[Item], None],
    on_outcome: Callable[[Item, Outcome], None],
    should_stop: Callable[[], bool],
    lanes: Callable[[], int],
    rules: Rules = DEFAULT_RULES,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> None:
    """C-STORE or STOW-RS; the promises are those of `uploads.pacs.store.store`."""
    if isinstance(target, WebPeer):
        stow.store(
            target,
            items,
            on_sending=on_sending,
            on_outcome=partial(_hear, rules, on_outcome),
            should_stop=should_stop,
            lanes=lanes,
            deadlines=deadlines,
        )
        return
    dimse_store.store(
        target,
        items,
        on_sending=on_sending,
        on_outcome=on_outcome,
        should_stop=should_stop,
        lanes=lanes,
        rules=rules,
        deadlines=deadlines,
    )


def _hear(rules: Rules, on_outcome: Callable[[Item, Outcome], None], item: Item, outcome: Outcome) -> None:
    """A Failure Reason is a DIMSE status (PS3.18 I.2.2), and the destination's rules hold for it as well."""
    if outcome.status is not None:
        ruled = rules.classify(outcome.status)
        outcome = replace(ruled, comment=outcome.comment, error_id=outcome.error_id, offending=outcome.offending)
    on_outcome(item, rules.skip(outcome, item.sop_class_uid) or outcome)


def find_instances(
    target: Target,
    study_instance_uid: str,
    series_instance_uids: Iterable[str],
    *,
    expected: Mapping[str, Sequence[str]] | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> Found:
    """C-FIND or QIDO-RS at image level; the promises are those of `uploads.pacs.find.find_instances`."""
    ask = (
        partial(qido.find_instances, target)
        if isinstance(target, WebPeer)
        else partial(dimse_find.find_instances, target)
    )
    return ask(study_instance_uid, series_instance_uids, expected=expected, deadlines=deadlines)


def find_study(
    target: Target, study_instance_uid: str, *, deadlines: Deadlines = DEFAULT_DEADLINES
) -> FoundStudy | None:
    """C-FIND or QIDO-RS at study level; the promises are those of `uploads.pacs.find.find_study`."""
    if isinstance(target, WebPeer):
        return qido.find_study(target, study_instance_uid, deadlines=deadlines)
    return dimse_find.find_study(target, study_instance_uid, deadlines=deadlines)


def asked_by(target: Target) -> str:
    """How this door asks, in words for page and receipt."""
    return "QIDO-RS" if isinstance(target, WebPeer) else "C-FIND"
