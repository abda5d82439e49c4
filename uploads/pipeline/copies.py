"""Whose bytes does the PACS keep? Images are fetched back and compared with what was sent.

Done for those that were there before ours (a PACS may answer "stored" and keep the older copy), and for a sample where
the destination's administrator asks for one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.conf import settings

from uploads.dicom.content import ContentDigest
from uploads.models import Delivery, FetchBy, LedgerEntry
from uploads.pacs import get, move, wado
from uploads.pacs.address import Peer, Target, WebPeer
from uploads.pacs.errors import GetUnsupported, InstanceAbsent, MoveUnsupported
from uploads.pacs.fetched import Wanted
from uploads.pipeline import addressing, asking
from uploads.pipeline.assembly import pieces
from uploads.pipeline.delivery import Trouble
from uploads.pipeline.reports import digests_of
from uploads.storage import pack_of

logger = logging.getLogger(__name__)

DEFLATED = "1.2.840.10008.1.2.1.99"  # may be padded on its way (PS3.5 A.5), which changes its digest


@dataclass(frozen=True)
class Compared:
    """How it ended. `trouble`: it is not proved that the PACS keeps what was sent; `other`: of these it keeps else."""

    words: str = ""
    trouble: Trouble | None = None
    other: tuple[int, ...] = ()


class NoWay(Exception):
    """The destination offers none of the ways to fetch an image back."""


def compare(delivery: Delivery, entries: Sequence[LedgerEntry]) -> Compared:
    """Fetches and compares what must be. Raises PeerError where that should be tried again later, AddressError."""
    suspects = [entry for entry in entries if entry.was_there]
    chosen = {entry.pk: entry for entry in [*suspects, *_sample(entries, delivery.destination.fetch_sample)]}
    if not chosen:
        return Compared()
    try:
        way = _fetch(delivery, [entry for entry in chosen.values() if not entry.fetched_sha256])
    except NoWay:
        return Compared(trouble=_unproved(len(suspects), len(entries)))
    rows = list(asking.entries_of(delivery).filter(pk__in=list(chosen)))
    if any(not row.fetched_sha256 for row in rows):
        return Compared(trouble=Trouble("not_fetched", "The PACS did not give back every image that was asked for."))
    changed = [row for row in rows if row.fetched_sha256 != (row.derived_sha256 or row.instance.dataset_sha256)]
    other = tuple(row.pk for row in _saying_else(delivery, changed))
    if other:
        return Compared(trouble=_other(len(other), len(entries)), other=other)
    how = "encoded anew, and the same in all they say" if changed else "the same bit for bit"
    return Compared(words=f"{len(rows)} fetched back by {way}: {how}.")


def _saying_else(delivery: Delivery, rows: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Those whose elements are not the ones that were sent, whatever way these are written down."""
    if not rows:
        return []
    with pack_of(delivery.upload_id).open() as fd:
        return [row for row in rows if not _says_the_same(row, fd)]


def _says_the_same(row: LedgerEntry, fd: int) -> bool:
    instance = row.instance
    if row.derived_sha256 or not row.fetched_content_sha256:
        return False
    content = ContentDigest(instance.transfer_syntax_uid)
    for piece in pieces(fd, instance.dataset_offset, instance.dataset_size):
        content.feed(piece)
    return content.value == row.fetched_content_sha256


def _unproved(suspects: int, total: int) -> Trouble:
    if not suspects:
        return Trouble("sample_unfetchable", "A sample was to be fetched back, and the PACS offers no way to do so.")
    return Trouble(
        "copy_unproved",
        f"{suspects} of {total} images were at the PACS before they were sent, and it offers no way to fetch them "
        "back: nothing proves whose copy it keeps.",
    )


def _other(other: int, total: int) -> Trouble:
    return Trouble(
        "other_copy_kept",
        f"The PACS gives back other bytes than were sent for {other} of {total} images: it may keep an older copy. Ask "
        "its administrator to compare, and to remove the older one; then retry.",
    )


def _sample(entries: Sequence[LedgerEntry], count: int) -> list[LedgerEntry]:
    """Spread over the study, its first and its last image among them."""
    eligible = [entry for entry in entries if entry.instance.transfer_syntax_uid != DEFLATED]
    if count >= len(eligible) or count == 0:
        return eligible[: count or 0]
    if count == 1:
        return [eligible[len(eligible) // 2]]
    step = (len(eligible) - 1) / (count - 1)
    return [eligible[round(number * step)] for number in range(count)]


Way = tuple[str, Callable[[Delivery, Target, Sequence[LedgerEntry]], bool]]


def _fetch(delivery: Delivery, entries: Sequence[LedgerEntry]) -> str:
    """Fills in the digests by the first way that is offered; answers its name."""
    target = addressing.asked_at(delivery.destination)
    for name, fetch in _ways(delivery.destination.fetch_by, target):
        if not entries or fetch(delivery, target, entries):
            return name
    raise NoWay


def _ways(wanted: str, target: Target) -> list[Way]:
    if isinstance(target, WebPeer):
        return [("WADO-RS", _by_wado)] if wanted in (FetchBy.AUTO, FetchBy.WADO) else []
    ways: list[Way] = []
    if wanted in (FetchBy.AUTO, FetchBy.GET):
        ways.append(("C-GET", _by_get))
    if wanted in (FetchBy.AUTO, FetchBy.MOVE):
        ways.append(("C-MOVE", _by_move))
    return ways


def _by_wado(delivery: Delivery, target: Target, entries: Sequence[LedgerEntry]) -> bool:
    if not isinstance(target, WebPeer):
        return False
    for entry in entries:
        try:
            fetched = wado.fetch(target, _wanted(delivery, entry))
        except InstanceAbsent:
            continue
        LedgerEntry.objects.filter(pk=entry.pk).update(**digests_of(fetched))
    return True


def _by_get(delivery: Delivery, target: Target, entries: Sequence[LedgerEntry]) -> bool:
    if not isinstance(target, Peer):
        return False
    try:
        found = get.fetch(target, [_wanted(delivery, entry) for entry in entries])
    except GetUnsupported:
        return False
    for entry in entries:
        if fetched := found.get(entry.instance.sop_instance_uid):
            LedgerEntry.objects.filter(pk=entry.pk).update(**digests_of(fetched))
    return True


def _by_move(delivery: Delivery, target: Target, entries: Sequence[LedgerEntry]) -> bool:
    """Our listener takes them and writes the digests (uploads.pipeline.reports) before the C-MOVE has ended."""
    if not isinstance(target, Peer):
        return False
    try:
        move.move(target, [_wanted(delivery, entry) for entry in entries], destination_ae=settings.DICOM_AE_TITLE)
    except MoveUnsupported:
        return False
    return True


def _wanted(delivery: Delivery, entry: LedgerEntry) -> Wanted:
    instance = entry.instance
    return Wanted(
        study_instance_uid=delivery.study.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        transfer_syntax_uid=entry.transfer_syntax_uid,
    )
