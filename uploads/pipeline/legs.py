"""Whoever is woken takes the most urgent row that is due, and gets it one state further.

Of the errors a leg may meet: what is wrong with the data ends the upload, what is wrong with the world postpones it, a
lost lease is dropped, and our own faults crash: the lease lapses, another worker tries, and after a few dead workers a
person is told.
"""

import logging
import uuid
from collections.abc import Callable

from django.db import transaction

from relaypacs import logs, metrics
from relaypacs.errors import Rejected, TryLater
from uploads.dicom.fence import FenceFailed
from uploads.models import MAX_CRASHES, Answer, Delivery, LeaseLost, Upload
from uploads.pipeline import destinations, early, settling
from uploads.pipeline.assembly import assemble
from uploads.pipeline.backoff import next_try
from uploads.pipeline.delivery import deliver
from uploads.pipeline.keeper import Keeper
from uploads.pipeline.validation import validate
from uploads.pipeline.verification import verify
from uploads.states import UPLOAD_LEGS, DeliveryState, UploadState

logger = logging.getLogger(__name__)

PACK_MISSING = "What was received is not on the disk any more. Please hand the study in again."
MAX_POSTPONED = 12  # a leg that the world keeps from working for so long is shown to a person

LEGS: dict[str, Callable[[Upload, Keeper], None]] = {
    UploadState.ASSEMBLING: assemble,
    UploadState.VALIDATING: validate,
}


def advance(upload_id: uuid.UUID | None = None) -> bool:
    """Runs one leg of the most urgent due upload (or of this one); False when nothing was due."""
    rows = Upload.objects.filter(Upload.free_and_due(), state__in=sorted(UPLOAD_LEGS)).order_by("urgency", "due_at")
    if upload_id is not None:
        rows = rows.filter(pk=upload_id)
    upload = Upload.claim(rows.select_related("clinic"))
    if upload is None:
        return False
    with logs.about(upload=upload.pk), Keeper(upload) as keeper:
        _run_upload(upload, keeper)
    return True


def _run_upload(upload: Upload, keeper: Keeper) -> None:
    leg = upload.state
    try:
        if upload.crashes >= MAX_CRASHES:
            _fail(upload, "leg_gave_up", f"Workers failed {upload.crashes} times while {leg}. The study is kept.")
            _count(leg, "gave_up")
            return
        LEGS[leg](upload, keeper)
        _count(leg, "done")
    except LeaseLost:
        logger.info("%s: the row is somebody else's by now", leg)
        _count(leg, "lost")
    except Rejected as error:
        _end(upload, UploadState.REJECTED, error.code, error.detail)
        _count(leg, "rejected")
    except TryLater as error:
        _postpone(upload, leg, error)
    except FenceFailed as error:
        _postpone(upload, leg, TryLater("reader_unavailable", str(error)))
    except FileNotFoundError:
        _fail(upload, "pack_missing", PACK_MISSING)
        _count(leg, "gave_up")


def _postpone(upload: Upload, leg: str, error: TryLater) -> None:
    _count(leg, "postponed")
    if upload.attempts >= MAX_POSTPONED:
        _fail(upload, error.code, error.detail)
    else:
        upload.postpone(next_try(upload.attempts), code=error.code, detail=error.detail)


def _end(upload: Upload, to: UploadState, code: str, detail: str) -> None:
    """What goes out early ends with it: no part of a study passes for the whole."""
    with transaction.atomic():
        upload.guard()
        early.halt(upload)
        settling.end(upload, to, code=code, detail=detail)


def _fail(upload: Upload, code: str, detail: str) -> None:
    _end(upload, UploadState.FAILED, code, detail)
    logger.error("upload failed: %s", code)


def accompany() -> bool:
    """Stays with the most urgent upload that is relayed while it is received; False where none has news."""
    upload = Upload.claim(early.due().order_by("urgency", "due_at").select_related("clinic"))
    if upload is None:
        return False
    with logs.about(upload=upload.pk), Keeper(upload) as keeper:
        try:
            _accompany(upload, keeper)
        except LeaseLost:
            logger.info("early: the upload has moved on")
    return True


def _accompany(upload: Upload, keeper: Keeper) -> None:
    """Trouble here costs the head start, never the upload."""
    if upload.crashes >= MAX_CRASHES:
        upload.write(early=False, due_at=None, lease_until=None, lease_owner="", crashes=0)
        _count("early", "gave_up")
        return
    try:
        early.accompany(upload, keeper)
        _count("early", "done")
    except (FenceFailed, FileNotFoundError, TryLater) as error:
        logger.warning("early: %s", type(error).__name__)
        upload.postpone(next_try(upload.attempts), code="reader_unavailable", detail=str(error))


def relay() -> bool:
    """Sends or verifies the most urgent delivery that may go now; False when there is none."""
    delivery = destinations.claim()
    if delivery is None:
        return False
    leg = "verification" if delivery.state == DeliveryState.STORED else "delivery"
    with logs.about(upload=delivery.upload_id), Keeper(delivery) as keeper:
        _run_delivery(delivery, leg, keeper)
    destinations.call_next()
    return True


def _run_delivery(delivery: Delivery, leg: str, keeper: Keeper) -> None:
    try:
        _deliver_or_verify(delivery, leg, keeper)
    except LeaseLost:
        logger.info("%s: the row is somebody else's by now", leg)
        _count(leg, "lost")


def _deliver_or_verify(delivery: Delivery, leg: str, keeper: Keeper) -> None:
    if delivery.crashes >= MAX_CRASHES:
        detail = f"Workers failed {delivery.crashes} times while sending. The study is kept."
        _give_up_delivery(delivery, "leg_gave_up", detail)
        _count(leg, "gave_up")
        return
    try:
        (verify if leg == "verification" else deliver)(delivery, keeper)
        _count(leg, "done")
    except FileNotFoundError:
        _give_up_delivery(delivery, "pack_missing", PACK_MISSING)
        _count(leg, "gave_up")


def _give_up_delivery(delivery: Delivery, code: str, detail: str) -> None:
    """Workers keep dying on it, or cannot do it: it is left as it stands, for a person to look at and retry."""
    with transaction.atomic():
        if delivery.state == DeliveryState.PENDING:
            delivery.move(DeliveryState.SENDING, keep_lease=True)
        kept = delivery.entries.filter(answer__in=(Answer.STORED, Answer.CHANGED)).exists()
        to = DeliveryState.PARTIAL if kept else DeliveryState.REFUSED
        delivery.move(to, because=code, last_error_code=code, last_error_detail=detail)
        settling.settle(delivery.upload_id)


def _count(leg: str, ended: str) -> None:
    metrics.legs_total.labels(leg=leg, ended=ended).inc()
