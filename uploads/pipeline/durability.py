"""Acknowledged octets and power cuts: the group sync, and the withdrawal of rows that a cut has made untrue."""

import logging
import uuid

from django.db import transaction
from django.db.models import F, Q

from relaypacs.errors import TryLater
from uploads.models import Chunk, Upload
from uploads.pipeline import early
from uploads.states import UploadState
from uploads.storage import current_boot, pack_of

logger = logging.getLogger(__name__)

GROUP_BYTES = 64 * 1024**2  # at most so much is acknowledged and not yet on the medium


def sync_pack(upload_id: uuid.UUID) -> int:
    """Puts the octets of all rows seen now on the medium, then says so in the rows. Answers how many.

    Raises:
        StorageFull, StorageFailed: the octets may be lost, and the rows are withdrawn: the client sends them again.
    """
    unsynced = Chunk.objects.filter(upload_id=upload_id, synced=False, boot_id=current_boot())
    if not unsynced.exists():
        return 0
    pack = pack_of(upload_id)
    with pack.sync_alone():
        rows = list(unsynced.values_list("pk", flat=True))
        try:
            pack.sync()
        except TryLater as error:
            lost = _withdraw(upload_id, Q(synced=False))
            logger.error("%d chunks withdrawn: %s", lost, error.code, extra={"upload_id": str(upload_id)})
            raise
        Chunk.objects.filter(pk__in=rows).update(synced=True)
    return len(rows)


def sync_when_much(upload_id: uuid.UUID, *, received: int, length: int) -> None:
    """Syncs when the chunk of this length has taken the upload, of which so much is received, over another group."""
    if received // GROUP_BYTES != (received - length) // GROUP_BYTES:
        sync_pack(upload_id)


def sync_all() -> int:
    """The group sync of all uploads that receive; run every few seconds on the machine that has the packs."""
    ids = Chunk.objects.filter(synced=False, boot_id=current_boot()).values_list("upload_id", flat=True).distinct()
    done = 0
    for upload_id in ids:
        try:
            done += sync_pack(upload_id)
        except FileNotFoundError:  # cancelled or expired meanwhile
            logger.info("pack is gone, nothing to sync", extra={"upload_id": str(upload_id)})
        except TryLater as error:  # told and withdrawn; the others' octets are not less worth
            logger.error("not synced: %s", error.code, extra={"upload_id": str(upload_id)})
    return done


def withdraw_lost(upload_id: uuid.UUID) -> int:
    """Takes back the rows of chunks written in an earlier boot and never synced: the cut may have taken the octets.

    They show up in `missing`, and the client sends them again.
    """
    lost = _withdraw(upload_id, Q(synced=False) & ~Q(boot_id=current_boot()))
    if lost:
        logger.warning("%d chunks withdrawn after a restart of the machine", lost, extra={"upload_id": str(upload_id)})
    return lost


def _withdraw(upload_id: uuid.UUID, which: Q) -> int:
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=upload_id)
        if upload.state != UploadState.RECEIVING:
            return 0
        lost = list(upload.chunks.filter(which))
        size = sum(upload.chunk_span(chunk.index)[1] for chunk in lost)
        Chunk.objects.filter(pk__in=[chunk.pk for chunk in lost]).delete()
        Upload.objects.filter(pk=upload_id).update(received_bytes=F("received_bytes") - size)
        upload.files.exclude(sha256="").update(sha256="", dataset_sha256="")  # digests of octets that may be gone
        if lost:
            early.halt(upload)  # what it had proved of them holds no more, so that they go out once all is checked
    return len(lost)


def withdraw_all_lost() -> int:
    """The same for every upload; run when the machine has come up, before clients ask what is missing."""
    ids = list(
        Chunk.objects.filter(synced=False, upload__state=UploadState.RECEIVING)
        .exclude(boot_id=current_boot())
        .values_list("upload_id", flat=True)
        .distinct()
    )
    return sum(withdraw_lost(upload_id) for upload_id in ids)
