"""One verb for each thing a delivery asks of a PACS, whichever protocol its address names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from uploads.pacs import find as dimse_find
from uploads.pacs import store as dimse_store
from uploads.pacs.address import Target, WebPeer
from uploads.pacs.deadlines import Deadlines
from uploads.pacs.errors import FindUnsupported, PeerError
from uploads.pacs.find import Found
from uploads.pacs.outcomes import Kind, Outcome
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
        raise PeerError("scheme_unsupported", "Nothing is sent by STOW-RS yet.", Kind.PAUSE)
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


def find_instances(
    target: Target,
    study_instance_uid: str,
    series_instance_uids: Iterable[str],
    *,
    expected: Mapping[str, Sequence[str]] | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> Found:
    """C-FIND or QIDO-RS at image level; the promises are those of `uploads.pacs.find.find_instances`."""
    if isinstance(target, WebPeer):
        raise FindUnsupported("find_unsupported", "Nothing is asked by QIDO-RS yet.")
    return dimse_find.find_instances(
        target, study_instance_uid, series_instance_uids, expected=expected, deadlines=deadlines
    )


def asked_by(target: Target) -> str:
    """How this door asks, in words for page and receipt."""
    return "QIDO-RS" if isinstance(target, WebPeer) else "C-FIND"
