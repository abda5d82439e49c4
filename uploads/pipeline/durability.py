"""Acknowledged octets and power cuts: the group sync, and the withdrawal of rows that a cut has made untrue."""

import logging
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial

from django.db import connection, transaction
from django.db.models import F, Q

from relaypacs.errors import TryLater
from uploads.models import Chunk, Upload
from uploads.pipeline import early
from uploads.states import UploadState
from uploads.storage import current_boot, pack_of

logger = logging.getLogger(__name__)

GROUP_BYTES = 64 * 1024**2  # after so much of an upload its pack is synced, without waiting for the next few seconds
_under_way: dict[uuid.UUID, Future[None]] = {}


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
    """Syncs when the chunk of this length has taken the upload, of which so much is received, over another group.

    That goes on beside the next group. Who fills that one before it has ended waits for it, so that in each process
    no more than two groups of an upload are acknowledged and not yet on the medium.
    """
    if received // GROUP_BYTES == (received - length) // GROUP_BYTES:
        return
    if connection.in_atomic_block:  # another thread would not see the row
        sync_pack(upload_id)
        return
    if earlier := _under_way.get(upload_id):
        wait([earlier])
    syncing = _under_way[upload_id] = _thread().submit(_sync_aside, upload_id)
    syncing.add_done_callback(partial(_ended, upload_id))


def _sync_aside(upload_id: uuid.UUID) -> None:
    try:
        _sync_if_there(upload_id)
    finally:
        connection.close()


def _ended(upload_id: uuid.UUID, syncing: Future[None]) -> None:
    if _under_way.get(upload_id) is syncing:
        del _under_way[upload_id]
    if error := syncing.exception():  # the rows are not marked, and the sync of every few seconds comes to them
        logger.error("a group was not synced: %s", type(error).__name__, exc_info=error)


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="group-sync")


def sync_all() -> int:
    """The group sync of all uploads that receive; run every few seconds on the machine that has the packs."""
    ids = Chunk.objects.filter(synced=False, boot_id=current_boot()).values_list("upload_id", flat=True).distinct()
    return sum(_sync_if_there(upload_id) for upload_id in ids)


def _sync_if_there(upload_id: uuid.UUID) -> int:
    try:
        return sync_pack(upload_id)
    except FileNotFoundError:  # cancelled or expired meanwhile
        logger.info("pack is gone, nothing to sync", extra={"upload_id": str(upload_id)})
    except TryLater as error:  # told and withdrawn; the others' octets are not less worth
        logger.error("not synced: %s", error.code, extra={"upload_id": str(upload_id)})
    return 0


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
