"""One study on its way to one PACS, and the ledger: what it answered for each instance, and what it showed to have."""

import uuid
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils import timezone

from uploads import hints
from uploads.models.destination import Destination
from uploads.models.lease import Leased
from uploads.models.study import Instance, Study
from uploads.models.upload import Upload
from uploads.states import DELIVERY_LEGS, DELIVERY_MOVES, DeliveryState

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    from accounts.models import User


class Proof(models.TextChoices):
    NONE = "none", "The PACS was not, or could not be, asked"
    QUERY = "query", "The PACS listed every instance when asked"
    COMMITMENT = "commitment", "The PACS committed to keep every instance"


class Delivery(Leased):
    """One study on its way to one destination."""

    MOVES = DELIVERY_MOVES

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="deliveries")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="deliveries")
    destination = models.ForeignKey(Destination, on_delete=models.PROTECT, related_name="deliveries")
    destination_name = models.CharField(max_length=120, help_text="As it was when the delivery was made.")
    required = models.BooleanField(default=True)
    state = models.CharField(max_length=16, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    urgency = models.PositiveSmallIntegerField(default=2, db_default=2)
    associations = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Of the destination's limit, so many are this delivery's while it is held."
    )
    early = models.BooleanField(
        default=False, db_default=False, help_text="Begun while the upload was still receiving."
    )
    was_asked_before_sending = models.BooleanField(
        null=True, help_text="Whether the PACS could be asked what it had of the study before the first image went out."
    )
    proof = models.CharField(max_length=16, choices=Proof.choices, default=Proof.NONE)
    proof_detail = models.CharField(
        max_length=400, default="", db_default="", blank=True, help_text="What was asked, and how, in words."
    )
    notes = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text="What a reader of the receipt must know: [{code, detail, instances}].",
    )
    redirected_to = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="redirected_from"
    )
    failures = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Attempts in a row that did not get through."
    )
    questions = models.PositiveIntegerField(default=0, db_default=0, help_text="Times the PACS was asked what it has.")
    total_attempts = models.PositiveIntegerField(default=0, db_default=0, help_text="Associations tried for sending.")
    created_at = models.DateTimeField(default=timezone.now)
    stored_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)

    if TYPE_CHECKING:
        entries: RelatedManager["LedgerEntry"]
        upload_id: uuid.UUID
        destination_id: uuid.UUID

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["destination_name", "study__study_instance_uid"]
        constraints = [
            models.UniqueConstraint(fields=["study", "destination"], name="delivery_once_per_destination"),
            models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="delivery_state_known"),
        ]
        indexes = [
            # the claim: the most urgent due delivery of a destination
            models.Index(
                fields=["destination", "urgency", "due_at"],
                condition=Q(state__in=sorted(DELIVERY_LEGS)),
                name="delivery_due",
            ),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}"

    def guard(self) -> None:
        """Its upload's row is locked first, as a cancel or a retry does, so that none waits for another for ever."""
        Upload.objects.select_for_update().filter(pk=self.upload_id).exists()
        super().guard()

    def moved(self, before: str, to: str, *, because: str, actor: "User | None") -> None:
        self.upload.transitions.create(delivery=self, from_state=before, to_state=to, because=because, actor=actor)
        if self.due_at is not None and self.due_at <= timezone.now() and self.lease_until is None:
            hints.nudge("delivery", self.pk)
        hints.publish(self.upload_id)


class Answer(models.TextChoices):
    """What is known of one instance at one destination."""

    UNSENT = "unsent", "Not sent yet"
    SENDING = "sending", "Sent, no answer written down"
    UNKNOWN = "unknown", "Sent, and it is not known whether it was stored"
    STORED = "stored", "Stored"
    CHANGED = "changed", "Stored, and the PACS changed or dropped elements"
    RETRY = "retry", "Refused for a passing reason"
    REFUSED = "refused", "Refused"
    SKIPPED = "skipped", "Left out, as this destination allows"


KEPT = (Answer.STORED, Answer.CHANGED)
FINAL = (*KEPT, Answer.REFUSED, Answer.SKIPPED)
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


class CommitmentState(models.TextChoices):
    ASKED = "asked", "Written down, and sent or about to be"
    ACCEPTED = "accepted", "The PACS will report"
    REPORTED = "reported", "The PACS has reported"
    READ = "read", "What it reported is in the ledger"
    ENDED = "ended", "Given up: refused, or no report in time"


class Commitment(models.Model):
    """One storage commitment transaction, written down before it is asked for (PS3.4 Annex J)."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="commitments")
    transaction_uid = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=12, choices=CommitmentState.choices, default=CommitmentState.ASKED)
    asked_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(help_text="Without a report by then a query must do.")
    reported_at = models.DateTimeField(null=True, blank=True)
    report = models.JSONField(default=dict, blank=True, help_text="{committed: [uid], failed: [[uid, reason]]}")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=CommitmentState.values), name="commitment_state_known"),
        ]

    def __str__(self) -> str:
        return f"commitment {self.pk}"


class LedgerEntry(models.Model):
    """One instance at one destination: the attempt is written before the send, the answer after."""

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="entries")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="entries")
    answer = models.CharField(max_length=16, choices=Answer.choices, default=Answer.UNSENT)
    code = models.CharField(
        max_length=40, default="", db_default="", blank=True, help_text="Why, where it was not stored."
    )
    status = models.IntegerField(null=True, blank=True, help_text="DIMSE status, PS3.4 Table B.2-1.")
    comment = models.CharField(max_length=400, default="", db_default="", blank=True)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    stored_count = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Times the PACS answered that it stored this instance."
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    was_there = models.BooleanField(
        default=False,
        db_default=False,
        help_text="The PACS had an image of this name before ours was sent: whose bytes it keeps is to be proved.",
    )
    fetched_sha256 = models.CharField(
        max_length=64, default="", db_default="", blank=True, help_text="Of the data set as the PACS gave it back."
    )
    fetched_content_sha256 = models.CharField(
        max_length=64, default="", db_default="", blank=True, help_text="Of what that says (uploads.dicom.content)."
    )
    derived_sha256 = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        help_text="Of what was sent, where that was decoded first.",
    )
    commitment = models.ForeignKey(Commitment, on_delete=models.SET_NULL, null=True, blank=True, related_name="entries")

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["delivery", "instance"], name="ledger_once_per_instance"),
            models.CheckConstraint(condition=Q(answer__in=Answer.values), name="ledger_answer_known"),
        ]

    def __str__(self) -> str:
        return f"ledger {self.pk}"

    @property
    def transfer_syntax_uid(self) -> str:
        """In which it is sent: the instance's own, or, where it was decoded first, the one of what was derived."""
        return EXPLICIT_VR_LITTLE_ENDIAN if self.derived_sha256 else self.instance.transfer_syntax_uid
