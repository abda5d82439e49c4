"""Where studies go: a PACS, how it is spoken to, what it may be sent, and which studies are routed to it."""

import uuid
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Clinic
from uploads.states import ServiceLevel

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

NONE: "models.Value" = models.Value([], models.JSONField())
NOTHING: "models.Value" = models.Value({}, models.JSONField())


class Auth(models.TextChoices):
    NONE = "none", "None"
    BASIC = "basic", "User name and password"
    BEARER = "bearer", "Token (bearer)"


class ProofWanted(models.TextChoices):
    """What verification asks for; `auto` takes the strongest that the destination was found to offer."""

    AUTO = "auto", "The strongest that it offers"
    COMMITMENT = "commitment", "Storage commitment, else a query"
    QUERY = "query", "A query (C-FIND or QIDO-RS)"
    NONE = "none", "None: nothing is asked, and nothing is verified"


class FetchBy(models.TextChoices):
    AUTO = "auto", "Whatever it offers"
    WADO = "wado", "WADO-RS"
    GET = "get", "C-GET"
    MOVE = "move", "C-MOVE to our own listener"


def zone_is_known(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValidationError("This time zone is not known; write it as Europe/Berlin.", code="zone_unknown") from error


class Destination(models.Model):
    """A PACS that studies are relayed to. Passwords and keys are sealed (relaypacs.sealing)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    url = models.CharField(
        "address",
        max_length=500,
        help_text="dicom://CALLED_AE@host:port, dicoms:// for TLS, ?calling=AE if ours differs; or https://host/dicom-web.",
    )
    active = models.BooleanField(default=True, db_default=True, help_text="New studies are relayed to it.")
    required = models.BooleanField(
        default=True, db_default=True, help_text="A study is delivered only when every required destination has it."
    )
    max_associations = models.PositiveSmallIntegerField(
        default=4, db_default=4, help_text="Associations, or requests, that it gets at the same time."
    )

    # --- who we are to it, and it to us
    auth = models.CharField("sign-in", max_length=8, choices=Auth.choices, default=Auth.NONE, db_default=Auth.NONE)
    auth_user = models.CharField("user name", max_length=200, default="", db_default="", blank=True)
    auth_secret = models.TextField(default="", db_default="", blank=True, editable=False)
    tls_ca = models.TextField(
        "its authority", default="", db_default="", blank=True, help_text="PEM; trusted instead of the machine's own."
    )
    tls_certificate = models.TextField(
        "our certificate", default="", db_default="", blank=True, help_text="PEM, with its chain."
    )
    tls_key = models.TextField(default="", db_default="", blank=True, editable=False)
    tls_server_name = models.CharField(
        "name in its certificate", max_length=253, default="", db_default="", blank=True, help_text="If not the host's."
    )
    certificates_end_at = models.DateTimeField(null=True, blank=True, help_text="The first of ours to expire.")
    peer_certificate_ends_at = models.DateTimeField(null=True, blank=True, help_text="Its own, as last shown.")

    # --- what proves that it has a study
    proof_wanted = models.CharField(
        "proof", max_length=12, choices=ProofWanted.choices, default=ProofWanted.AUTO, db_default=ProofWanted.AUTO
    )
    query_url = models.CharField(
        "asked at",
        max_length=500,
        default="",
        db_default="",
        blank=True,
        help_text="Where it is asked what it has, if elsewhere: dicom:// for C-FIND, https:// for QIDO-RS.",
    )
    fetch_sample = models.PositiveSmallIntegerField(
        "images fetched back",
        default=0,
        db_default=0,
        help_text="Of each study, so many are fetched back and compared before it counts as verified.",
    )
    fetch_by = models.CharField(max_length=8, choices=FetchBy.choices, default=FetchBy.AUTO, db_default=FetchBy.AUTO)
    offers = models.JSONField(
        default=dict, db_default=NOTHING, blank=True, help_text="What the last test found (uploads.pipeline.probing)."
    )
    probed_at = models.DateTimeField(null=True, blank=True)

    # --- what it may be sent, and what its answers mean
    outcome_rules = models.JSONField(
        default=list,
        db_default=NONE,
        blank=True,
        help_text="Answers that mean something else here (uploads.pacs.outcomes).",
    )
    optional_classes = models.JSONField(
        default=list,
        db_default=NONE,
        blank=True,
        help_text="SOP classes that may be left out, with a note, where it refuses them.",
    )
    required_tags = models.JSONField(
        default=list, db_default=NONE, blank=True, help_text="Keywords that every study must have filled."
    )
    transcode = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Where it takes no compressed images, send them decoded, as Explicit VR Little Endian, and say so.",
    )
    deidentified = models.BooleanField(
        default=False, db_default=False, help_text="It must not get images that may show a name in their pixels."
    )
    relay_early = models.BooleanField(
        "relay while receiving",
        default=False,
        db_default=False,
        help_text="Send images as they come in, before the whole study has been checked.",
    )

    # --- when it may be sent to
    quiet_from = models.TimeField(null=True, blank=True, help_text="From here nothing but STAT is sent,")
    quiet_until = models.TimeField(null=True, blank=True, help_text="until here.")
    quiet_zone = models.CharField(
        "time zone", max_length=64, default="UTC", db_default="UTC", validators=[zone_is_known]
    )
    paused = models.BooleanField(default=False, db_default=False, help_text="Nothing is sent until it is resumed.")
    paused_because = models.CharField(max_length=400, default="", db_default="", blank=True)
    down_since = models.DateTimeField(null=True, blank=True)
    probe_at = models.DateTimeField(null=True, blank=True, help_text="While down: when it is tried again.")
    last_error = models.CharField(max_length=400, default="", db_default="", blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    if TYPE_CHECKING:
        routes: RelatedManager["Route"]

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="destination_quiet_hours_whole",
            ),
            models.CheckConstraint(condition=Q(max_associations__gte=1), name="destination_takes_one"),
        ]

    def __str__(self) -> str:
        return self.name

    def is_quiet(self, at: datetime) -> bool:
        """Whether `at` lies in its quiet hours, by the clock of its own place; a span over midnight is one span."""
        if self.quiet_from is None or self.quiet_until is None:
            return False
        now: time = at.astimezone(ZoneInfo(self.quiet_zone)).time()
        if self.quiet_from <= self.quiet_until:
            return self.quiet_from <= now < self.quiet_until
        return now >= self.quiet_from or now < self.quiet_until

    def quiet_ends_at(self, at: datetime) -> datetime:
        """`at` itself, or the end of the quiet hours in which it lies."""
        if self.quiet_until is None or not self.is_quiet(at):
            return at
        there = at.astimezone(ZoneInfo(self.quiet_zone))
        end = datetime.combine(there.date(), self.quiet_until, tzinfo=there.tzinfo)
        return (end if end > there else end + timedelta(days=1)).astimezone(UTC)


class Route(models.Model):
    """Which studies a destination gets. One without routes gets all; else those that one of its routes names."""

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE, related_name="routes")
    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, null=True, blank=True, help_text="Empty: any.")
    modality = models.CharField(max_length=16, default="", db_default="", blank=True, help_text="As CT; empty: any.")
    service_level = models.CharField(
        max_length=16, choices=ServiceLevel.choices, default="", db_default="", blank=True, help_text="Empty: any."
    )
    sop_class_uid = models.CharField(
        "SOP class", max_length=64, default="", db_default="", blank=True, help_text="Only images of it; empty: any."
    )
    required = models.BooleanField(
        null=True, blank=True, help_text="Whether such a study must reach it; empty: as the destination has it."
    )

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"route {self.pk}"
