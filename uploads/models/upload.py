"""An upload, its files and its chunks: what the clinic handed in, as one stream of bytes."""

import uuid
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Clinic
from uploads import hints
from uploads.models.lease import Leased
from uploads.states import UPLOAD_LEGS, UPLOAD_MOVES, URGENCY, ServiceLevel, UploadState

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    from accounts.models import User
    from uploads.models.delivery import Delivery
    from uploads.models.journal import Hold, Receipt, Transition
    from uploads.models.study import Instance, Study


class Upload(Leased):
    """One hand-in: its files, in the order of the manifest, laid end to end, are the pack."""

    MOVES = UPLOAD_MOVES

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="uploads")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="uploads")
    state = models.CharField(max_length=16, choices=UploadState.choices, default=UploadState.RECEIVING)
    service_level = models.CharField(max_length=16, choices=ServiceLevel.choices, default=ServiceLevel.ROUTINE)
    urgency = models.PositiveSmallIntegerField(default=2, db_default=2, help_text="0 is STAT, 2 is routine.")
    clinical_history = models.TextField(default="", db_default="", blank=True)
    expected_patient = models.JSONField(null=True, blank=True)
    allow_duplicate = models.BooleanField(default=False, db_default=False)
    early = models.BooleanField(
        default=False, db_default=False, help_text="Some destination gets its images while it is being received."
    )

    total_size = models.BigIntegerField()
    chunk_size = models.IntegerField()
    chunk_count = models.IntegerField()
    file_count = models.IntegerField()
    received_bytes = models.BigIntegerField(default=0, db_default=0)
    manifest_sha256 = models.CharField(max_length=64, help_text="Of the request that opened the upload.")
    idempotency_key = models.CharField(max_length=200, default="", db_default="", blank=True)
    declared_instances = models.JSONField(null=True, blank=True)

    created_at = models.DateTimeField(default=timezone.now)
    last_chunk_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    pack_removed_at = models.DateTimeField(null=True, blank=True)
    problem_code = models.CharField(max_length=40, default="", db_default="", blank=True)
    problem_detail = models.TextField(default="", db_default="", blank=True)
    failed_from = models.CharField(max_length=16, default="", db_default="", blank=True)

    if TYPE_CHECKING:
        files: RelatedManager["UploadFile"]
        chunks: RelatedManager["Chunk"]
        studies: RelatedManager[Study]
        instances: RelatedManager[Instance]
        holds: RelatedManager[Hold]
        deliveries: RelatedManager[Delivery]
        transitions: RelatedManager[Transition]
        receipts: RelatedManager[Receipt]
        created_by_id: uuid.UUID
        clinic_id: uuid.UUID

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=UploadState.values), name="upload_state_known"),
            models.CheckConstraint(
                condition=Q(received_bytes__gte=0) & Q(received_bytes__lte=models.F("total_size")),
                name="upload_received_within_size",
            ),
            # the same key from the same person is the same upload
            models.UniqueConstraint(
                fields=["created_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="upload_idempotency_key_once",
            ),
        ]
        indexes = [
            # the claim and the sweep: what a worker has to do next
            models.Index(fields=["urgency", "due_at"], condition=Q(state__in=sorted(UPLOAD_LEGS)), name="upload_due"),
            # the list of a clinic's uploads, newest first, by cursor
            models.Index(fields=["clinic", "-created_at", "id"], name="upload_clinic_newest"),
            models.Index(fields=["created_by", "-created_at", "id"], name="upload_person_newest"),
            models.Index(fields=["-created_at", "id"], name="upload_newest"),
            models.Index(fields=["expires_at"], condition=Q(state="receiving"), name="upload_expiring"),
            # what has chunks that nobody has looked at, to be relayed while it is received
            models.Index(fields=["urgency", "due_at"], condition=Q(state="receiving", early=True), name="upload_early"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.urgency = URGENCY[ServiceLevel(self.service_level)]
        super().save(*args, **kwargs)

    def chunk_span(self, index: int) -> tuple[int, int]:
        """Offset and length, in bytes of the pack, of chunk `index`."""
        offset = index * self.chunk_size
        return offset, min(self.chunk_size, self.total_size - offset)

    def moved(self, before: str, to: str, *, because: str, actor: "User | None") -> None:
        self.transitions.create(from_state=before, to_state=to, because=because, actor=actor)
        if to in UPLOAD_LEGS:
            hints.nudge("upload", self.pk)
        hints.publish(self.pk)


class FileStatus(models.TextChoices):
    WAITING = "waiting", "Not looked at yet"
    ACCEPTED = "accepted", "Accepted"
    IGNORED = "ignored", "Ignored"
    REJECTED = "rejected", "Rejected"
    EXCLUDED = "excluded", "Left out by decision"


UNUSABLE = (FileStatus.IGNORED, FileStatus.REJECTED, FileStatus.EXCLUDED)


class UploadFile(models.Model):
    """One file of the manifest: a span of the pack, and what was found in it. Its name is text, never a path."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="files")
    index = models.IntegerField()
    name = models.CharField(max_length=1024)
    offset = models.BigIntegerField()
    size = models.BigIntegerField()
    declared_sha256 = models.CharField(max_length=64, default="", db_default="", blank=True)
    sha256 = models.CharField(max_length=64, default="", db_default="", blank=True)
    dataset_start = models.IntegerField(default=0, db_default=0, help_text="Where the data set begins in the file.")
    dataset_sha256 = models.CharField(max_length=64, default="", db_default="", blank=True)
    status = models.CharField(max_length=16, choices=FileStatus.choices, default=FileStatus.WAITING)
    problem_code = models.CharField(max_length=40, default="", db_default="", blank=True)
    problem_detail = models.TextField(default="", db_default="", blank=True)

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["upload", "index"], name="file_once_per_index"),
            models.CheckConstraint(condition=Q(status__in=FileStatus.values), name="file_status_known"),
        ]

    def __str__(self) -> str:
        return f"file {self.index}"


class Chunk(models.Model):
    """One acknowledged chunk. The row is written after the octets matched their digest, and never changes them."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="chunks")
    index = models.IntegerField()
    sha256 = models.CharField(max_length=64)
    boot_id = models.CharField(max_length=40, help_text="The machine's boot in which the octets were written.")
    synced = models.BooleanField(default=False, db_default=False, help_text="The octets are on the medium.")
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            # an acknowledged chunk is never overwritten
            models.UniqueConstraint(fields=["upload", "index"], name="chunk_once_per_index"),
        ]
        indexes = [
            # the group sync, and the withdrawal of what a power cut took
            models.Index(fields=["upload"], condition=Q(synced=False), name="chunk_unsynced"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.index}"
