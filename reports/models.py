"""A report row for each study that was delivered; what the radiologist answers hangs on it."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from uploads.models import Upload


class ReportState(models.TextChoices):
    ASSIGNED = "assigned", "Assigned"
    PENDING = "pending", "Being read"
    ADDITIONAL_DATA_REQUIRED = "additional_data_required", "Question to the clinic"
    READY = "ready", "Ready"
    CANCELLED = "cancelled", "Cancelled"


class Report(models.Model):
    """The answer a clinic waits for, one for each study; opened when the study is delivered."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="reports")
    study_instance_uid = models.CharField(max_length=64)
    state = models.CharField(max_length=32, choices=ReportState.choices, default=ReportState.ASSIGNED)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            # a study handed in once is answered once, however often its delivery is reported
            models.UniqueConstraint(fields=["upload", "study_instance_uid"], name="report_once_per_study"),
            models.CheckConstraint(condition=Q(state__in=ReportState.values), name="report_state_known"),
        ]

    def __str__(self) -> str:
        return f"report {self.pk}"
