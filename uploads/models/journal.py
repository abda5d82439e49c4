"""What happened and what was decided: transitions, holds, receipts."""

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from uploads import hints
from uploads.models.delivery import Delivery
from uploads.models.lease import Leased
from uploads.models.upload import Upload


class Transition(models.Model):
    """One move of an upload or of one of its deliveries. Rows are only ever added (see `append_only`)."""

    append_only = True  # the application's database role may not update or delete rows (relaypacs.grants)

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="transitions")
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="transitions", null=True, blank=True)
    from_state = models.CharField(max_length=16)
    to_state = models.CharField(max_length=16)
    because = models.CharField(max_length=400, default="", blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_state} → {self.to_state}"


class Hold(models.Model):
    """A question that only a person may answer; the upload waits for it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="holds")
    code = models.CharField(max_length=40)
    detail = models.TextField()
    study_instance_uid = models.CharField(max_length=64, default="", blank=True)
    files = models.JSONField(default=list, help_text="Indices of the files that are in question.")
    created_at = models.DateTimeField(default=timezone.now)
    decision = models.CharField(max_length=16, default="", db_default="", blank=True)
    reason = models.TextField(default="", db_default="", blank=True)
    excluded = models.JSONField(default=list)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="decisions"
    )

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            # the same question about the same study is asked once at a time
            models.UniqueConstraint(
                fields=["upload", "code", "study_instance_uid"],
                condition=Q(decided_at__isnull=True),
                name="hold_open_once",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Receipt(Leased):
    """A printable account of where an upload stood when it entered a state. Its bytes are kept as they were made."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="receipts")
    for_state = models.CharField(max_length=16)
    asked_at = models.DateTimeField(default=timezone.now)
    rendered_at = models.DateTimeField(null=True, blank=True)
    document = models.CharField(max_length=120, default="", db_default="", blank=True)
    sha256 = models.CharField(max_length=64, default="", db_default="", blank=True)
    size = models.IntegerField(default=0, db_default=0)

    if TYPE_CHECKING:
        upload_id: uuid.UUID

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["upload", "for_state"], name="receipt_once_per_state"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="receipt_due"),
        ]

    def __str__(self) -> str:
        return f"receipt {self.pk}"

    def ask(self) -> None:
        """Wakes a renderer once this row is committed."""
        hints.nudge("receipt", self.pk)
