"""Relay while receiving: where a destination's administrator chose it, images go out as they come in (decision 4).

Every image passes the checks that can be made of it and of those before it. The first that fails, and the first
question that only a person may answer, end the early relaying; the upload then goes the ordinary way, with whatever is
already at the PACS listed. The study as a whole is checked when it is whole, as every other.
"""

import logging
import time
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import Clinic
from uploads import hints
from uploads.dicom.fence import Inspector
from uploads.dicom.study import judge
from uploads.models import Destination, Instance, LedgerEntry, Study, Upload, UploadFile, write_columns
from uploads.pipeline import assembly, dispatch, ledger, looking, questions, routing
from uploads.pipeline.keeper import Keeper
from uploads.pipeline.looking import Looked
from uploads.states import UNDISPATCHED, DeliveryState, UploadState
from uploads.storage import pack_of

logger = logging.getLogger(__name__)

D = DeliveryState
IDLE_SECONDS = 2.0  # without new chunks for so long the worker leaves; the next chunk calls it again
LOOK_SECONDS = 0.05
MOST_FILES, MOST_OCTETS = 256, 64 * 1024**2  # taken at a time: assembly begins with what has no rows yet
TURN_SECONDS = 10.0  # then another upload that waits gets its turn


def concerns(clinic: Clinic, service_level: str) -> bool:
    """Whether some destination might get studies like these while they are received."""
    here = Q(routes__isnull=True) | (
        (Q(routes__clinic__isnull=True) | Q(routes__clinic=clinic)) & Q(routes__service_level__in=("", service_level))
    )
    return Destination.objects.filter(here, active=True, relay_early=True).exists()


def accompany(upload: Upload, keeper: Keeper) -> None:
    """Looks at files as they become whole, and opens their way, until no more chunks come."""
    try:
        with pack_of(upload.pk).open() as fd, looking.inspector(upload) as through:
            companion = _Companion(upload, through, fd)
            companion.recall()
            while not keeper.lost() and companion.go_on():
                pass
    except _Doubt as doubt:
        logger.info("no more is relayed early: %s", doubt)
        with transaction.atomic():
            upload.guard()
            halt(upload)
            upload.write(due_at=None, lease_until=None, lease_owner="")


class _Doubt(Exception):
    """Something that must be looked at when the study is whole; a code."""


class _Companion:
    """One worker's stay with one upload that is being received."""

    def __init__(self, upload: Upload, through: Inspector, fd: int) -> None:
        self._upload = upload
        self._through = through
        self._fd = fd
        self._looked: list[Looked] = []
        self._passed_over: set[int] = set()
        self._since = self._busy_at = time.monotonic()

    def recall(self) -> None:
        """What was looked at before: its headers are read again, its digests are known."""
        files = list(self._upload.files.filter(instance__isnull=False).order_by("index"))
        self._looked = list(looking.look(files, self._through, self._fd))

    def go_on(self) -> bool:
        files = self._whole()
        if files:
            self._take(files)
            self._busy_at = time.monotonic()
            return not self._others_wait()
        if time.monotonic() - self._busy_at < IDLE_SECONDS:
            time.sleep(LOOK_SECONDS)
            return True
        return not self._leave()

    def _whole(self) -> list[UploadFile]:
        """Files whose octets are all acknowledged, and that were not looked at yet; as many as soon have rows."""
        received = set(self._upload.chunks.values_list("index", flat=True))
        files = self._upload.files.filter(instance__isnull=True, size__gt=0).exclude(index__in=self._passed_over)
        whole: list[UploadFile] = []
        octets = 0
        for file in files.order_by("index").iterator(chunk_size=MOST_FILES):
            if received.issuperset(assembly.chunks_of(self._upload, file)):
                whole.append(file)
                octets += file.size
            if len(whole) == MOST_FILES or octets > MOST_OCTETS:
                break
        return whole

    def _take(self, files: Sequence[UploadFile]) -> None:
        for file in files:
            if not assembly.is_proven(file):
                assembly.digest(file, self._fd)
            if file.declared_sha256 and not assembly.is_proven(file):
                raise _Doubt("digest_mismatch")
        looked = list(looking.look(files, self._through, self._fd))
        if any(one.inspection.verdict == "rejected" for one in looked):
            raise _Doubt("bad_files")
        self._passed_over |= {one.file.index for one in looked if one.inspection.verdict != "dicom"}
        new = [one for one in looked if one.inspection.verdict == "dicom"]
        self._looked += new
        self._enter(files, new)

    def _enter(self, files: Sequence[UploadFile], new: Sequence[Looked]) -> None:
        """Rows for what was found, and a place in the ledger of each destination that gets it early."""
        verdict = judge([one.found for one in self._looked])
        if verdict.findings or verdict.duplicates:
            raise _Doubt(", ".join(sorted(verdict.codes)) or "duplicates")
        with transaction.atomic():
            self._upload.guard()
            write_columns(files, ["sha256", "dataset_start", "dataset_sha256"])
            instances = [row for study, ones in self._by_study(new) for row in self._write(study, ones)]
            questions.one_at_a_time(self._upload)
            asked = questions.open_questions(self._upload, looked_bad=[], verdict=verdict, among=instances)
            if asked:
                raise _Doubt(", ".join(sorted({hold.code for hold in asked})))
            self._open_ways(instances)

    def _by_study(self, new: Sequence[Looked]) -> Iterable[tuple[Study, list[Looked]]]:
        for uid in dict.fromkeys(one.header.study_instance_uid for one in new):
            study = self._upload.studies.filter(study_instance_uid=uid).first()
            members = [one for one in self._looked if one.header.study_instance_uid == uid]
            study = looking.describe(study or Study(upload=self._upload, study_instance_uid=uid), members)
            study.save()
            yield study, [one for one in new if one.header.study_instance_uid == uid]

    def _write(self, study: Study, ones: Sequence[Looked]) -> list[Instance]:
        return Instance.objects.bulk_create([looking.instance_of(study, one) for one in ones], batch_size=1000)

    def _open_ways(self, instances: Sequence[Instance]) -> None:
        among = [destination for destination in routing.destinations() if destination.relay_early]
        for study in {instance.study_id: instance.study for instance in instances}.values():
            ways, _ = routing.plan(self._upload, study, [i for i in instances if i.study_id == study.pk], among)
            for way in ways:
                dispatch.send_along(self._upload, study, way, early=True)

    def _others_wait(self) -> bool:
        """Whether this worker has stayed long enough and somebody else waits; then this upload queues up again."""
        if time.monotonic() - self._since < TURN_SECONDS:
            return False
        others = due().exclude(pk=self._upload.pk)
        if not others.exists():
            return False
        self._upload.write(due_at=timezone.now(), lease_until=None, lease_owner="", crashes=0)
        hints.nudge("early", self._upload.pk)
        return True

    def _leave(self) -> bool:
        """Gives the upload back until the next chunk, unless one has come in this moment."""
        with transaction.atomic():
            self._upload.guard()
            if self._whole():
                return False
            self._upload.write(due_at=None, lease_until=None, lease_owner="", crashes=0)
        return True


def due() -> "QuerySet[Upload]":
    """Uploads being received that have chunks nobody has looked at."""
    return Upload.objects.filter(Upload.free_and_due(), state=UploadState.RECEIVING, early=True)


def is_dispatched(upload: Upload) -> bool:
    """Whether it passed its checks as a whole, so that its deliveries are of the whole study."""
    failed_there = upload.state == UploadState.FAILED and upload.failed_from == UploadState.DELIVERING
    return failed_there or upload.state in (UploadState.DELIVERING, UploadState.DELIVERED, UploadState.VERIFIED)


def may_go(upload: Upload) -> bool:
    """Whether images of it may be sent now: it was dispatched, or goes early and nothing speaks against that yet."""
    return is_dispatched(upload) or (upload.early and upload.state in UNDISPATCHED)


def halt(upload: Upload) -> None:
    """No more of it goes out until it is dispatched; whoever sends is fenced off. Call in a guarded transaction."""
    upload.write(early=False)
    for delivery in upload.deliveries.select_for_update().filter(state__in=(D.PENDING, D.SENDING, D.WAITING)):
        if delivery.state == D.SENDING:
            delivery.move(D.WAITING, because="held_back")
        else:
            delivery.write(lease_epoch=delivery.lease_epoch + 1, due_at=None, lease_until=None, lease_owner="")


def keep_what_went_out(upload: Upload, usable: set[int]) -> dict[str, Instance]:
    """The instances that a PACS may have by now, by SOP Instance UID; all other rows of an earlier look are removed.

    `usable`: the indices of the files that may still be sent. What was entered for others and never sent is struck.
    """
    unsent = LedgerEntry.objects.filter(delivery__upload=upload, answer__in=ledger.TO_SEND, attempts=0)
    unsent.exclude(instance__file_index__in=usable).delete()
    upload.instances.filter(entries__isnull=True).delete()
    upload.studies.filter(deliveries__isnull=True).delete()
    return {instance.sop_instance_uid: instance for instance in upload.instances.all()}
