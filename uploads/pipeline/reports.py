"""What PACS bring to our listener: commitment reports, and instances that we asked them to send back.

An AE title is no proof of who calls. What guards a report is its transaction UID, which only the PACS that was asked
has been told and nobody can guess; and it must come under the AE title of the destination that was asked, so that one
PACS cannot speak for another. Where that title cannot be told any more, because the address has been made unusable
since, the transaction alone decides. An instance proves nothing by coming: its digest is compared, and to forge one
the octets themselves are needed.
"""

import logging
import uuid
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from uploads import hints
from uploads.models import Commitment, CommitmentState, Delivery, Destination, LedgerEntry, Upload
from uploads.pacs.address import AddressError, Peer, parse
from uploads.pacs.fetched import Fetched
from uploads.pacs.report import Report
from uploads.states import DeliveryState, UploadState

logger = logging.getLogger(__name__)

OPEN = (CommitmentState.ASKED, CommitmentState.ACCEPTED)


def titles_of(destination: Destination) -> set[str]:
    """The AE titles under which it may call us: those by which we call it."""
    titles = set()
    for url in filter(None, (destination.url, destination.query_url)):
        try:
            target = parse(url, default_calling_ae=settings.DICOM_AE_TITLE)
        except AddressError:
            continue
        if isinstance(target, Peer):
            titles.add(target.called_ae)
    return titles


def known_titles() -> set[str]:
    """The AE titles of every PACS that may call us."""
    return set[str]().union(*(titles_of(destination) for destination in Destination.objects.filter(active=True)))


def take_report(calling_ae: str, report: Report) -> bool:
    """Writes down what a PACS reports and wakes its delivery; False where no transaction of ours is meant.

    A report that comes again, or after its transaction was read or given up, changes nothing.
    """
    rows = Commitment.objects.select_related("delivery__destination")
    commitment = rows.filter(transaction_uid=report.transaction_uid).first()
    if commitment is None or not _may_speak(calling_ae, commitment.delivery.destination):
        logger.warning("a commitment report belongs to no transaction of its sender")
        return False
    with transaction.atomic():
        _lock(commitment.delivery)
        reported = Commitment.objects.filter(pk=commitment.pk, state__in=OPEN).update(
            state=CommitmentState.REPORTED, reported_at=timezone.now(), report=_as_json(report)
        )
        if reported:
            _wake(commitment.delivery)
    if reported:
        at = timezone.now().isoformat()
        remember(commitment.delivery.destination_id, commitment=True, commitment_at=at)
    logger.info("commitment %s: %s", commitment.pk, "reported" if reported else "reported again")
    return True


def _may_speak(calling_ae: str, destination: Destination) -> bool:
    titles = titles_of(destination)
    return not titles or calling_ae in titles


def _lock(delivery: Delivery) -> None:
    """Upload before delivery before the rest, as a worker, a cancel or a retry locks them."""
    Upload.objects.select_for_update().filter(pk=delivery.upload_id).exists()
    Delivery.objects.select_for_update().filter(pk=delivery.pk).exists()


def remember(destination_id: uuid.UUID, **learned: Any) -> dict[str, Any]:
    """Adds to what is known of a destination; answers all of it."""
    with transaction.atomic():
        row = Destination.objects.select_for_update().only("offers").get(pk=destination_id)
        row.offers |= learned
        Destination.objects.filter(pk=destination_id).update(offers=row.offers)
    return dict(row.offers)


def _wake(delivery: Delivery) -> None:
    """Whoever verifies it reads the report: due now, whatever time its next question was put off to."""
    rows = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.STORED)
    if rows.exclude(upload__state=UploadState.CANCELLED).update(due_at=timezone.now()):
        hints.nudge("delivery", delivery.pk)


def _as_json(report: Report) -> dict[str, Any]:
    return {"committed": list(report.committed), "failed": [[uid, reason] for uid, reason in report.failed.items()]}


def digests_of(fetched: Fetched) -> dict[str, str]:
    """The columns of a ledger entry that hold what came back."""
    return {"fetched_sha256": fetched.sha256, "fetched_content_sha256": fetched.content_sha256}


def take_instance(calling_ae: str, fetched: Fetched) -> bool:
    """Writes down the digest of an instance that came back by C-MOVE; False where none of ours is meant.

    What came in another transfer syntax than it was sent in was decoded or encoded anew: its digest tells nothing.
    """
    rows = LedgerEntry.objects.select_related("instance", "delivery__destination")
    # one that is being asked about just now: two destinations may bear the same title
    asked = Q(delivery__state=DeliveryState.STORED, delivery__lease_until__gte=timezone.now())
    stored = rows.filter(asked, instance__sop_instance_uid=fetched.sop_instance_uid)
    entries = [entry for entry in stored if calling_ae in titles_of(entry.delivery.destination)]
    comparable = [entry.pk for entry in entries if fetched.transfer_syntax_uid == entry.transfer_syntax_uid]
    LedgerEntry.objects.filter(pk__in=comparable).update(**digests_of(fetched))
    return bool(entries)
