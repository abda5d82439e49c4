"""Storage commitment: the PACS is asked to say that it will keep a study, and its report is awaited for a day at most.

Each transaction is written down before it is asked for. Its report may come at once, or hours later over an association
of the PACS's own (uploads.pipeline.reports); this side or the other may restart in between.
"""

import logging
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from pydicom.uid import generate_uid

from uploads.models import Commitment, CommitmentState, Delivery, Destination, LedgerEntry, ProofWanted
from uploads.pacs.address import Peer
from uploads.pacs.commitment import ask
from uploads.pacs.errors import CommitmentUnsupported, PeerError
from uploads.pacs.report import Meaning, Reference, failure
from uploads.pipeline import addressing, reports

logger = logging.getLogger(__name__)

S = CommitmentState
AT_ONCE = 1000  # instances in one transaction
WAIT_SECONDS = 5.0  # for a report on the same association
UNHEARD_SECONDS = 60  # a request whose answer was lost; the report may still come, then it is asked anew
ROUNDS = 5  # transactions of a delivery that asked for another one
FORGET = timedelta(days=1)  # what was found about a destination is tried again after so long
OPEN = (S.ASKED, S.ACCEPTED)


class Awaited(Exception):
    """The PACS was asked and has not reported yet; `until` is when that is given up, or when it is asked anew."""

    def __init__(self, until: datetime) -> None:
        super().__init__("commitment awaited")
        self.until = until


def wanted(delivery: Delivery) -> bool:
    """Whether this delivery is to be proved by storage commitment: chosen, or seen to be offered, and not given up."""
    destination = delivery.destination
    if destination.proof_wanted not in (ProofWanted.AUTO, ProofWanted.COMMITMENT):
        return False
    if not isinstance(addressing.asked_at(destination), Peer):
        return False
    if delivery.commitments.filter(state=S.ENDED).exists():
        return False
    return destination.proof_wanted == ProofWanted.COMMITMENT or known(destination) is True


def learn(delivery: Delivery, entries: Sequence[LedgerEntry]) -> None:
    """Asks once, about one image, of a destination of which it is not known whether it reports; nobody waits for it.

    This study is proved by a query meanwhile, and once a report has come the next ones by commitment.
    """
    destination = delivery.destination
    peer = addressing.asked_at(destination)
    if destination.proof_wanted != ProofWanted.AUTO or not isinstance(peer, Peer) or not entries:
        return
    if known(destination) is not None or _asked_lately(destination):
        return
    row = _write_down(delivery, [])
    one = entries[0].instance
    _remember(destination, commitment_asked_at=timezone.now().isoformat())
    try:
        keep = partial(reports.take_report, peer.called_ae)
        ask(peer, row.transaction_uid, [Reference(one.sop_class_uid, one.sop_instance_uid)], wait=0.0, keep=keep)
        Commitment.objects.filter(pk=row.pk, state=S.ASKED).update(state=S.ACCEPTED)
    except CommitmentUnsupported:
        _note(destination, False)
        Commitment.objects.filter(pk=row.pk).update(state=S.READ)
    except PeerError as error:
        logger.info("storage commitment was not tried: %s", error.code)


def _asked_lately(destination: Destination) -> bool:
    at = destination.offers.get("commitment_asked_at")
    return bool(at) and datetime.fromisoformat(at) > timezone.now() - FORGET


def known(destination: Destination) -> bool | None:
    """Whether it was seen to report, or not to; None where nobody knows, or not any more."""
    found = destination.offers.get("commitment")
    at = destination.offers.get("commitment_at")
    if found is False and at and datetime.fromisoformat(at) < timezone.now() - FORGET:
        return None
    return None if found is None else bool(found)


def advance(delivery: Delivery, entries: Sequence[LedgerEntry]) -> set[str] | None:
    """Asks, or reads what was reported: the UIDs that the PACS committed to; it says that it has not the others.

    None where it cannot be had: a query must do. Raises Awaited, PeerError, AddressError.
    """
    _read_reports(delivery)
    uncovered = _uncovered(delivery, entries)
    if uncovered:
        try:
            _ask(delivery, uncovered)
        except CommitmentUnsupported:
            _give_up(delivery, because="unsupported")
            return None
        _read_reports(delivery)
    if delivery.commitments.filter(state__in=OPEN, entries__isnull=False, ends_at__lte=timezone.now()).exists():
        _give_up(delivery, because="silent")
        return None
    # one look for both: a report may come in at any moment
    unread = list(delivery.commitments.filter(state__in=(*OPEN, S.REPORTED), entries__isnull=False).distinct())
    if any(row.state == S.REPORTED for row in unread):
        return advance(delivery, entries)
    if unread:
        raise Awaited(min(map(_looked_at_again, unread)))
    if not _uncovered(delivery, entries):
        return _committed(delivery, entries)
    if delivery.commitments.count() // math.ceil(len(entries) / AT_ONCE) < ROUNDS:
        raise PeerError("commitment_undecided", "The PACS could not commit to every image just now; it is asked again.")
    _give_up(delivery, because="undecided")
    return None


def _looked_at_again(row: Commitment) -> datetime:
    """When its report is overdue; or, where nobody knows whether it was heard at all, when it is asked anew."""
    if row.state == S.ACCEPTED:
        return row.ends_at
    return min(row.ends_at, row.asked_at + timedelta(seconds=UNHEARD_SECONDS))


def _rows(delivery: Delivery, entries: Sequence[LedgerEntry]) -> "QuerySet[LedgerEntry]":
    return delivery.entries.select_related("instance").filter(pk__in=[entry.pk for entry in entries])


def _committed(delivery: Delivery, entries: Sequence[LedgerEntry]) -> set[str]:
    rows = _rows(delivery, entries).filter(commitment__state=S.READ, verified_at__isnull=False)
    return set(rows.values_list("instance__sop_instance_uid", flat=True))


def _uncovered(delivery: Delivery, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Those of which nothing is known yet: in no open transaction, and neither committed to nor said to be absent.

    That a query has listed one, under earlier settings, is no commitment.
    """
    rows = _rows(delivery, entries).filter(commitment__isnull=True)
    said = _said_absent(delivery)
    return [row for row in rows if not _is_said_since(row, said.get(row.instance.sop_instance_uid))]


def _said_absent(delivery: Delivery) -> dict[str, datetime]:
    """When the PACS last reported of an image that it does not have it, by SOP Instance UID."""
    absent: dict[str, datetime] = {}
    for row in delivery.commitments.filter(state=S.READ, reported_at__isnull=False).order_by("reported_at"):
        for uid, reason in row.report.get("failed", ()):
            if row.reported_at is not None and failure(reason).meaning is Meaning.RESEND:
                absent[uid] = row.reported_at
    return absent


def _is_said_since(entry: LedgerEntry, at: datetime | None) -> bool:
    """What was reported before the image was sent once more says nothing of that."""
    return at is not None and (entry.answered_at is None or at >= entry.answered_at)


def _ask(delivery: Delivery, entries: Sequence[LedgerEntry]) -> None:
    peer = addressing.asked_at(delivery.destination)
    if not isinstance(peer, Peer):
        return
    keep = partial(reports.take_report, peer.called_ae)
    for start in range(0, len(entries), AT_ONCE):
        some = entries[start : start + AT_ONCE]
        row = _write_down(delivery, some)
        references = [Reference(e.instance.sop_class_uid, e.instance.sop_instance_uid) for e in some]
        came = Commitment.objects.filter(pk=row.pk, state=S.REPORTED).exists
        ask(peer, row.transaction_uid, references, wait=WAIT_SECONDS, keep=keep, arrived=came)
        Commitment.objects.filter(pk=row.pk, state=S.ASKED).update(state=S.ACCEPTED)


def _write_down(delivery: Delivery, entries: Sequence[LedgerEntry]) -> Commitment:
    """The transaction, before it is asked for. What it replaces may still be reported, and is not waited for."""
    with transaction.atomic():
        delivery.guard()
        row = Commitment.objects.create(
            delivery=delivery,
            transaction_uid=generate_uid(),
            ends_at=timezone.now() + timedelta(seconds=settings.COMMITMENT_SECONDS),
        )
        LedgerEntry.objects.filter(pk__in=[entry.pk for entry in entries]).update(commitment=row)
    return row


def _read_reports(delivery: Delivery) -> None:
    """Brings what was reported into the ledger, and asks anew where a request got no answer at all."""
    for row in delivery.commitments.filter(state=S.REPORTED):
        _read(delivery, row)
    unheard = timezone.now() - timedelta(seconds=UNHEARD_SECONDS)
    with transaction.atomic():
        delivery.guard()
        lost = delivery.commitments.filter(state=S.ASKED, asked_at__lt=unheard)
        LedgerEntry.objects.filter(commitment__in=lost).update(commitment=None)
        lost.update(state=S.READ)


def _read(delivery: Delivery, row: Commitment) -> None:
    """What it does not commit to, and does not name, is free to be asked about again."""
    committed = set(row.report["committed"])
    with transaction.atomic():
        delivery.guard()
        entries = list(row.entries.select_related("instance"))
        seen = [entry.pk for entry in entries if entry.instance.sop_instance_uid in committed]
        LedgerEntry.objects.filter(pk__in=seen).update(verified_at=row.reported_at)
        others = [entry.pk for entry in entries if entry.instance.sop_instance_uid not in committed]
        LedgerEntry.objects.filter(pk__in=others).update(commitment=None, verified_at=None)
        Commitment.objects.filter(pk=row.pk).update(state=S.READ)
    _note(delivery.destination, True)


def _give_up(delivery: Delivery, *, because: str) -> None:
    """A query must do for this delivery; the destination is remembered as one that does not report, for a while."""
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(delivery=delivery, commitment__state__in=OPEN).update(commitment=None)
        open_still = delivery.commitments.filter(state__in=OPEN)
        if not open_still.update(state=S.ENDED):
            now = timezone.now()
            Commitment.objects.create(
                delivery=delivery,
                transaction_uid=generate_uid(),
                ends_at=now,
                state=S.ENDED,
                report={"because": because},
            )
    if not (because == "undecided" or known(delivery.destination)):
        _note(delivery.destination, False)
    logger.warning("no storage commitment: %s", because)


def _note(destination: Destination, found: bool) -> None:
    _remember(destination, commitment=found, commitment_at=timezone.now().isoformat())


def _remember(destination: Destination, **learned: Any) -> None:
    destination.offers = reports.remember(destination.pk, **learned)


def is_reported(delivery: Delivery) -> bool:
    """Whether a report came in since it was last read. Ask with the delivery's row locked."""
    return delivery.commitments.filter(state=S.REPORTED).exists()


def words(delivery: Delivery) -> str:
    """What page and receipt say of the proof."""
    count = delivery.commitments.filter(state=S.READ, reported_at__isnull=False).count()
    return f"Storage commitment, in {count} report{'s' if count > 1 else ''}."
