"""The receipt: a printable account of what was received, delivered and verified, and of what was not."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from relaypacs import logs
from relaypacs.errors import TryLater, WrongState
from uploads import hints
from uploads.models import KEPT, LeaseLost, LedgerEntry, Receipt, Upload
from uploads.pipeline import settling
from uploads.pipeline.backoff import next_try
from uploads.pipeline.keeper import Keeper
from uploads.printing.render import printable, to_pdf
from uploads.selectors import timeline
from uploads.storage import read_document, write_document
from uploads.truth import truth

logger = logging.getLogger(__name__)

TEMPLATE_VERSION = "2"
SAID = {
    "receiving": "Not complete: the clinic is still sending.",
    "delivered": "Delivered: every required destination answered that it stored every image. Not verified.",
    "verified": "Verified: every required destination was asked again and has every image.",
    "failed": "Not delivered: a destination did not take every image. The study is kept.",
    "rejected": "Rejected: nothing was sent to any destination.",
    "cancelled": "Cancelled by the clinic. What a destination had stored by then is listed below.",
}


REJECTED_LATE = "Rejected, after a destination had stored some of it while it was received: it is listed below."


def _anything_kept(upload: Upload) -> bool:
    return LedgerEntry.objects.filter(delivery__upload=upload, answer__in=KEPT).exists()


def render_next() -> bool:
    """Renders the receipt that has been due longest; False when none was due."""
    receipt = Receipt.claim(Receipt.objects.filter(Receipt.free_and_due()).order_by("due_at").select_related("upload"))
    if receipt is None:
        return False
    with logs.about(upload=receipt.upload_id), Keeper(receipt) as keeper:
        try:
            _render(receipt, keeper)
        except TryLater as error:
            logger.warning("receipt not rendered: %s", error.code)
            receipt.postpone(next_try(receipt.attempts), code=error.code, detail=error.detail)
        except LeaseLost:
            logger.info("the receipt is somebody else's by now")
    return True


def _render(receipt: Receipt, keeper: Keeper) -> None:
    upload = Upload.objects.select_related("clinic", "created_by").get(pk=receipt.upload_id)
    pdf = to_pdf(html(upload, receipt.for_state))
    keeper.check()
    name = write_document(pdf)
    with transaction.atomic():
        receipt.guard()
        receipt.write(
            due_at=None,
            lease_until=None,
            lease_owner="",
            rendered_at=timezone.now(),
            document=name,
            sha256=hashlib.sha256(pdf).hexdigest(),
            size=len(pdf),
        )
        hints.publish(receipt.upload_id)


def html(upload: Upload, state: str) -> str:
    """The receipt's page. Every value from outside is escaped, and printable in the embedded font."""
    context = {
        "truth": _safe(truth(upload)),
        "timeline": _safe(timeline(upload)),
        "said": REJECTED_LATE if state == "rejected" and _anything_kept(upload) else SAID.get(state, state),
        "state": state,
        "files_checked": upload.files.exclude(declared_sha256="").count(),
        "file_count": upload.file_count,
        "manifest_sha256": upload.manifest_sha256,
        "printed_at": timezone.now(),
        "version": settings.VERSION,
        "template_version": TEMPLATE_VERSION,
    }
    return render_to_string("uploads/print/receipt.html", context)


def _safe(value: Any) -> Any:
    """Text made printable, deeply; everything else as it is."""
    if isinstance(value, str):
        return printable("".join(c for c in value if c.isprintable()))
    if isinstance(value, Mapping):
        return {key: _safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(one) for one in value]
    return value


def read(upload: Upload) -> bytes:
    """The receipt of the state the upload is in now.

    Raises:
        WrongState: not_ready, while there is nothing to account for or the printer has not come to it yet.
    """
    receipt = upload.receipts.filter(for_state=upload.state, rendered_at__isnull=False).first()
    if receipt is None:
        settling.account_now(upload.pk)
        raise WrongState("not_ready", "The receipt of this upload is not printed yet.", retry_after=2)
    return read_document(receipt.document)
