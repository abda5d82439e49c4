"""The sweep: finds what is due and was not hinted at, what has expired, and wakes workers for it."""

import logging
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from uploads import hints
from uploads.models import LeaseLost, Receipt, Upload
from uploads.pipeline import destinations, durability, early
from uploads.states import UPLOAD_LEGS, UploadState

logger = logging.getLogger(__name__)

AT_ONCE = 50  # hints of one kind per sweep; a worker that finds nothing due costs a query


def sweep() -> dict[str, int]:
    """Sends a hint for everything due that nobody holds. Answers how many of each kind."""
    return {
        "withdrawn": durability.withdraw_all_lost(),
        "expired": expire(),
        "uploads": _hint("upload", Upload.objects.filter(Upload.free_and_due(), state__in=sorted(UPLOAD_LEGS))),
        "early": _hint("early", early.due().order_by("urgency", "due_at")),
        "deliveries": _hint("delivery", destinations.claimable().order_by(*destinations.BY_URGENCY)),
        "receipts": _hint("receipt", Receipt.objects.filter(Receipt.free_and_due())),
    }


def _hint(kind: hints.Kind, rows: "QuerySet[Any]") -> int:
    ids = list(rows.values_list("pk", flat=True)[:AT_ONCE])
    for row_id in ids:
        hints.nudge(kind, row_id)
    return len(ids)


def expire() -> int:
    """Uploads whose time ran out while they were receiving."""
    late = Upload.objects.filter(state=UploadState.RECEIVING, expires_at__lte=timezone.now())
    count = 0
    for upload in late.iterator():
        try:
            with transaction.atomic():
                upload.guard()
                early.halt(upload)
                upload.move(UploadState.EXPIRED, ended_at=timezone.now())
            count += 1
        except LeaseLost:
            logger.info("the upload has moved on", extra={"upload_id": str(upload.pk)})
    return count
