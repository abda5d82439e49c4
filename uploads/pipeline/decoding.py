"""Images that a destination refuses as they are, decoded for it where its administrator allows that (rule S6)."""

import logging
from dataclasses import replace
from pathlib import Path

from django.db import transaction

from uploads.dicom.transcode import EXPLICIT, TranscodeFailed, Transcoder
from uploads.models import Answer, Delivery, LedgerEntry
from uploads.pacs.rules import Rules
from uploads.pipeline import asking
from uploads.pipeline.derived import derive, transcoder_of
from uploads.pipeline.keeper import Keeper

logger = logging.getLogger(__name__)

CONTEXT_REFUSED = "context_refused"
UNCOMPRESSED = ("1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2")


def decode_refused(delivery: Delivery, rules: Rules, keeper: Keeper) -> bool:
    """Decodes what was refused for its encoding alone, to be sent as Explicit VR Little Endian; whether there was any.

    What cannot be decoded stays refused, or is left out where the destination may do without. Raises StorageFull,
    StorageFailed, FenceFailed.
    """
    if not delivery.destination.transcode:
        return False
    refused = asking.entries_of(delivery).filter(answer=Answer.REFUSED, code=CONTEXT_REFUSED, derived_sha256="")
    entries = list(refused.exclude(instance__transfer_syntax_uid__in=UNCOMPRESSED).select_related("instance__study"))
    if not entries:
        return False
    with transcoder_of(delivery.upload) as transcoder:
        decoded = [_decode(delivery, entry, transcoder, rules=rules, keeper=keeper) for entry in entries]
    return any(decoded)


def _decode(delivery: Delivery, entry: LedgerEntry, transcoder: Transcoder, *, rules: Rules, keeper: Keeper) -> bool:
    try:
        made = derive(entry.instance, transcoder, on_frame=keeper.check)
    except TranscodeFailed as error:
        instance = entry.instance
        outcome = replace(rules, transcode=False).context_refused(
            instance.sop_class_uid, instance.transfer_syntax_uid, result=4
        )
        skipped = rules.skip(outcome, instance.sop_class_uid)
        answer = Answer.REFUSED if skipped is None else Answer.SKIPPED
        _write(delivery, entry, answer=answer, code=error.code[:40], comment=error.detail[:400])
        return False
    decoded = {"comment": "Decoded for this destination.", "derived_sha256": made.sha256}
    _write(delivery, entry, answer=Answer.UNSENT, code="", **decoded)
    return True


def _write(delivery: Delivery, entry: LedgerEntry, **columns: str) -> None:
    """Fenced: decoding takes its time, and another worker may have sent it since."""
    with transaction.atomic():
        delivery.guard()
        LedgerEntry.objects.filter(pk=entry.pk).update(**columns)


class DerivedSlice:
    """The data set of a derived file; opened for each read, because a study may have thousands."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._path = path
        self.offset = offset
        self.size = size

    def fileno(self) -> int:
        return -1

    def pread(self, length: int, offset: int, /) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self.offset + offset)
            return file.read(min(length, self.size - offset))
