"""The only hand that deletes bytes: what the PACS has shown to have, what was given up, never what still waits."""

import logging
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from uploads.models import Delivery, Upload
from uploads.states import DeliveryState, UploadState
from uploads.storage import pack_of

logger = logging.getLogger(__name__)

U = UploadState
KEEP_DELIVERED = timedelta(days=7)
KEEP_REJECTED = timedelta(days=3)


def retention() -> int:
    """Removes the packs whose time has come; rows stay. Answers how many."""
    done = 0
    for upload in Upload.objects.filter(_due(), pack_removed_at__isnull=True).iterator():
        pack_of(upload.pk).remove()
        Upload.objects.filter(pk=upload.pk).update(pack_removed_at=timezone.now())
        logger.info("pack removed", extra={"upload_id": str(upload.pk)})
        done += 1
    return done


def _due() -> Q:
    now = timezone.now()
    proven = Q(state=U.VERIFIED, verified_at__lte=now - KEEP_DELIVERED)
    # delivered and no PACS is left to be asked: their word is all there will ever be
    to_be_asked = Delivery.objects.filter(upload=OuterRef("pk"), state=DeliveryState.STORED, due_at__isnull=False)
    unproven = Q(state=U.DELIVERED, delivered_at__lte=now - KEEP_DELIVERED) & ~Exists(to_be_asked)
    given_up = Q(state__in=[U.CANCELLED, U.EXPIRED])
    rejected = Q(state=U.REJECTED, ended_at__lte=now - KEEP_REJECTED)
    return proven | unproven | given_up | rejected
