"""Fifth leg: the PACS is asked what it has. Its "stored" alone proves nothing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from uploads.models import KEPT, UNUSABLE, Answer, Delivery, LedgerEntry, Proof, ProofWanted
from uploads.pacs import doors
from uploads.pacs.address import AddressError
from uploads.pacs.errors import FindUnsupported, PeerError
from uploads.pipeline import addressing, asking, coercion, commitments, copies, destinations, noting, settling
from uploads.pipeline.backoff import next_try
from uploads.pipeline.copies import Compared
from uploads.pipeline.delivery import Trouble
from uploads.pipeline.keeper import Keeper
from uploads.states import DeliveryState

logger = logging.getLogger(__name__)

D = DeliveryState
QUESTIONS = 6  # a PACS may need a while to index what it stored; then what it does not list is not there
SENDS_AT_MOST = 3  # sends of an instance that the PACS took and did not keep


CHANGED_IDENTITY = Trouble(
    "identity_changed",
    "The PACS shows this study under another identity than it was sent with. Its staff must look before it is read.",
)


@dataclass(frozen=True)
class Shown:
    """What the PACS has shown to have, and how. `firm`: what is missing is surely missing; no need to ask again."""

    uids: set[str]
    proof: Proof
    detail: str
    firm: bool = False


def verify(delivery: Delivery, keeper: Keeper) -> None:
    """Moves to verified; or asks again later; or sends again what the PACS has not kept."""
    entries = list(asking.entries_of(delivery).filter(answer__in=KEPT).select_related("instance__file"))
    try:
        shown = _shown(delivery, entries)
        compared, coerced = Compared(), None
        if not _missing(entries, shown):
            compared, coerced = copies.compare(delivery, _here(entries, shown)), coercion.look(delivery)
    except commitments.Awaited as awaited:
        _await_report(delivery, awaited.until)
        return
    except FindUnsupported as error:
        # nothing to ask with: it stays stored, and page and receipt say that nothing proves it
        rest(delivery, Trouble(error.code, error.detail))
        return
    except (AddressError, PeerError) as error:
        _ask_later(delivery, Trouble(error.code, str(error)))
        return
    keeper.check()
    destinations.came_up(delivery.destination)
    missing = _missing(entries, shown)
    _note_seen(delivery, _here(entries, shown), missing)
    if coerced is not None:
        delivery.write(notes=[*_other_notes(delivery), noting.of_the_identity(*coerced)])
    if coerced is not None and coerced[0].mismatch:
        rest(delivery, CHANGED_IDENTITY)
    elif not missing and compared.trouble is not None:
        _not_ours(delivery, compared, len(entries))
    elif not missing:
        _verified(delivery, shown, compared)
    elif not shown.firm and delivery.questions + 1 < QUESTIONS:
        trouble = Trouble(
            "not_listed", f"The PACS lists {len(entries) - len(missing)} of {len(entries)} images so far."
        )
        _ask_later(delivery, trouble, questions=delivery.questions + 1)
    else:
        _send_again(delivery, missing, len(entries))


def _shown(delivery: Delivery, entries: Sequence[LedgerEntry]) -> Shown:
    """The strongest proof that the destination offers and its administrator wants."""
    if delivery.destination.proof_wanted == ProofWanted.NONE:
        raise FindUnsupported("proof_not_wanted", "This destination is set up not to be asked what it has.")
    if commitments.wanted(delivery):
        committed = commitments.advance(delivery, entries)
        if committed is not None:
            return Shown(committed, Proof.COMMITMENT, commitments.words(delivery), firm=True)
    commitments.learn(delivery, entries)
    way = doors.asked_by(addressing.asked_at(delivery.destination))
    uids = asking.listed(delivery, entries)
    return Shown(uids, Proof.QUERY, f"{way}: every image was asked for by its UID, and listed.")


def _other_notes(delivery: Delivery) -> list[noting.Note]:
    return [note for note in delivery.notes if note["code"] not in ("identity_changed", "details_changed")]


def _here(entries: Sequence[LedgerEntry], shown: Shown) -> list[LedgerEntry]:
    return [entry for entry in entries if entry.instance.sop_instance_uid in shown.uids]


def _missing(entries: Sequence[LedgerEntry], shown: Shown) -> list[LedgerEntry]:
    """What is to be there and is not. One that went early and was left out since may be gone, and stays so."""
    absent = [entry for entry in entries if entry.instance.sop_instance_uid not in shown.uids]
    return [entry for entry in absent if entry.instance.file.status not in UNUSABLE]


def _note_seen(delivery: Delivery, here: Sequence[LedgerEntry], missing: Sequence[LedgerEntry]) -> None:
    absent = [entry.pk for entry in missing]
    seen = [entry.pk for entry in here]
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(pk__in=seen, verified_at__isnull=True).update(verified_at=timezone.now())
        LedgerEntry.objects.filter(pk__in=absent).update(verified_at=None)


def _verified(delivery: Delivery, shown: Shown, compared: Compared) -> None:
    with transaction.atomic():
        delivery.move(
            D.VERIFIED,
            proof=shown.proof,
            proof_detail=f"{shown.detail} {compared.words}".strip()[:400],
            verified_at=timezone.now(),
            last_error_code="",
            last_error_detail="",
        )
        settling.settle(delivery.upload_id)


def _not_ours(delivery: Delivery, compared: Compared, total: int) -> None:
    """It has images of these names, and not, or not surely, our bytes: that is never `verified`."""
    trouble = compared.trouble or Trouble("other_copy_kept", "")
    if not compared.other:
        rest(delivery, trouble)
        return
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(pk__in=compared.other).update(
            answer=Answer.REFUSED,
            comment="The PACS keeps other bytes under this name.",
            verified_at=None,
            fetched_sha256="",
            commitment=None,  # it spoke of that copy, and says nothing of one that is sent later
        )
        to = D.PARTIAL if len(compared.other) < total else D.REFUSED
        delivery.move(to, because=trouble.code, last_error_code=trouble.code, last_error_detail=trouble.detail)
        settling.settle(delivery.upload_id)
    logger.error("the PACS keeps other bytes than were sent for %d instances", len(compared.other))


def _await_report(delivery: Delivery, until: datetime) -> None:
    """Until the report comes, which makes it due, or is overdue. One that came in this moment is not missed."""
    with transaction.atomic():
        delivery.guard()
        due_at = timezone.now() if commitments.is_reported(delivery) else until
        delivery.postpone(due_at, code="commitment_awaited", detail="The PACS will report whether it keeps the study.")


def rest(delivery: Delivery, trouble: Trouble) -> None:
    """It stays stored: nothing more can be found out, and page and receipt say why nothing proves it."""
    with transaction.atomic():
        delivery.guard()
        delivery.write(
            due_at=None,
            lease_until=None,
            lease_owner="",
            last_error_code=trouble.code[:40],
            last_error_detail=trouble.detail,
        )
        settling.account(delivery.upload, at_once=True)


def _ask_later(delivery: Delivery, trouble: Trouble, *, questions: int | None = None) -> None:
    until: datetime
    if questions is None:
        until = next_try(delivery.attempts)  # the PACS could not be asked; that says nothing about the study
    else:
        until = next_try(questions, first=settings.VERIFY_FIRST_SECONDS)
        delivery.write(questions=questions)
    delivery.postpone(until, code=trouble.code[:40], detail=trouble.detail)


def _send_again(delivery: Delivery, missing: Sequence[LedgerEntry], total: int) -> None:
    """What the PACS said it stored and does not have is sent again, a few times; then the study has failed there."""
    ids = [entry.pk for entry in missing]
    hopeless = [entry.pk for entry in missing if entry.attempts >= SENDS_AT_MOST]
    trouble = Trouble(
        "not_kept", f"The PACS answered that it stored {len(missing)} of {total} images, and has not kept them."
    )
    with transaction.atomic():
        delivery.guard()
        rows = LedgerEntry.objects.filter(pk__in=ids)
        rows.update(commitment=None, fetched_sha256="")  # of what it has lost
        rows.exclude(pk__in=hopeless).update(answer=Answer.UNSENT, comment="The PACS did not keep it; sent again.")
        rows.filter(pk__in=hopeless).update(answer=Answer.REFUSED, comment="The PACS takes it and does not keep it.")
        changes: dict[str, Any] = {"last_error_code": trouble.code, "last_error_detail": trouble.detail, "questions": 0}
        if len(hopeless) < len(ids):
            delivery.move(D.WAITING, because=trouble.code, due_at=timezone.now(), **changes)
        else:
            kept = delivery.entries.filter(answer__in=KEPT).exists()
            delivery.move(D.PARTIAL if kept else D.REFUSED, because=trouble.code, **changes)
        settling.settle(delivery.upload_id)
    logger.warning("%d of %d instances were not kept by the PACS", len(missing), total)
