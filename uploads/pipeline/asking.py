"""What a PACS has: asked before the first image goes out, when an answer was lost, and to verify."""

import logging
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from uploads.models import FINAL, Delivery, LedgerEntry, ProofWanted
from uploads.pacs import doors
from uploads.pacs.errors import FindUnsupported, PeerError, QueryRefused
from uploads.pacs.find import FindLimited
from uploads.pipeline import addressing, ledger

logger = logging.getLogger(__name__)

DUPLICATE = "duplicate"  # uploads.pacs.outcomes: 0111


def entries_of(delivery: Delivery) -> QuerySet[LedgerEntry]:
    return delivery.entries.select_related("instance").order_by("instance__file_index")


def listed(delivery: Delivery, entries: Iterable[LedgerEntry]) -> set[str]:
    """The SOP Instance UIDs of these entries that the PACS lists. Raises PeerError, AddressError."""
    expected: dict[str, list[str]] = {}
    for entry in entries:
        expected.setdefault(entry.instance.series_instance_uid, []).append(entry.instance.sop_instance_uid)
    target = addressing.asked_at(delivery.destination)
    return set(doors.find_instances(target, delivery.study.study_instance_uid, expected, expected=expected))


def look_beforehand(delivery: Delivery) -> None:
    """Marks the images that the PACS has before ours are sent: its "stored" will not prove whose bytes it keeps.

    Asked once, before the first image goes out, and again before each image that comes in later. Where it cannot be
    asked nothing is known, and the delivery says so.
    """
    asked = delivery.was_asked_before_sending
    if asked is False or (asked and not delivery.early):
        return
    if delivery.destination.proof_wanted == ProofWanted.NONE:
        delivery.write(was_asked_before_sending=False)
        return
    untried = [entry for entry in entries_of(delivery) if not entry.attempts]
    if asked and not untried:
        return
    series = sorted({entry.instance.series_instance_uid for entry in untried})
    target = addressing.asked_at(delivery.destination)
    try:
        found = set(doors.find_instances(target, delivery.study.study_instance_uid, series))
    except FindLimited as limit:
        found = set(limit.found)
    except PeerError as error:
        if not isinstance(error, QueryRefused) and target == addressing.target_of(delivery.destination):
            raise  # nobody is there, so nothing can be sent either
        delivery.write(was_asked_before_sending=False)
        return
    there = [entry for entry in untried if entry.instance.sop_instance_uid in found]
    ours = _ours(delivery, there)
    _mark(delivery, [entry.pk for entry in there if entry.pk not in ours])


def _mark(delivery: Delivery, foreign: Sequence[int]) -> None:
    delivery.write(was_asked_before_sending=True)
    if foreign:
        LedgerEntry.objects.filter(pk__in=foreign).update(was_there=True)
        logger.warning("%d instances were at the PACS before they were sent", len(foreign))


def _ours(delivery: Delivery, entries: Sequence[LedgerEntry]) -> set[int]:
    """Those that this destination showed to have from us before, with the same bytes (rule S3)."""
    proved = LedgerEntry.objects.filter(
        delivery__destination_id=delivery.destination_id,
        instance__sop_instance_uid=OuterRef("instance__sop_instance_uid"),
        instance__dataset_sha256=OuterRef("instance__dataset_sha256"),
        verified_at__isnull=False,
        was_there=False,
    )
    rows = LedgerEntry.objects.filter(pk__in=[entry.pk for entry in entries]).filter(Exists(proved))
    return set(rows.values_list("pk", flat=True))


def resolve_doubts(delivery: Delivery) -> None:
    """Asks the PACS about images that may or may not have arrived (rules S5, S17)."""
    doubtful = list(entries_of(delivery).filter(answer__in=ledger.UNCERTAIN))
    if not doubtful:
        return
    try:
        found = listed(delivery, doubtful)
    except FindUnsupported:
        found = set()
    except PeerError as error:
        if addressing.asked_at(delivery.destination) == addressing.target_of(delivery.destination):
            raise
        raise QueryRefused(error.code, error.detail, error.kind, bounded=error.bounded) from error
    there = [entry for entry in doubtful if entry.instance.sop_instance_uid in found]
    _mark_duplicates(delivery, there)
    ledger.note_found(delivery, [entry.pk for entry in there])
    ledger.note_absent(delivery, [entry.pk for entry in doubtful])


def _mark_duplicates(delivery: Delivery, there: Sequence[LedgerEntry]) -> None:
    """What the PACS said to have when ours was sent for the first time is not ours, and it may keep it (rule S3)."""
    foreign = [entry for entry in there if entry.code == DUPLICATE and entry.attempts == 1 and not entry.was_there]
    ours = _ours(delivery, foreign)
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(pk__in=[entry.pk for entry in foreign if entry.pk not in ours]).update(
            was_there=True
        )


def unsettled(answers: Iterable[str]) -> int:
    """How many of these answers are not final."""
    return sum(answer not in FINAL for answer in answers)
