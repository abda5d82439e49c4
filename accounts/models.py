"""The people, the clinics they work for, and the role each has there."""

import uuid
from typing import TYPE_CHECKING

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager
    from django_otp.models import Device


class Role(models.TextChoices):
    CLINICIAN = "clinician", "Clinician"
    RADIOGRAPHER = "radiographer", "Radiographer"
    RADIOLOGIST = "radiologist", "Radiologist"
    ADMIN = "admin", "Administrator"


class Clinic(models.Model):
    """A place that hands in studies."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    active = models.BooleanField(default=True, db_default=True, help_text="An inactive clinic takes no new uploads.")
    batch_mode = models.BooleanField(
        default=False,
        db_default=False,
        help_text="One hand-in may hold several patients; each study is then confirmed by itself.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person or a program that signs in."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    if TYPE_CHECKING:
        memberships: RelatedManager["Membership"]
        otp_device: Device  # the second factor of this sign-in, set where one was asked for

    @property
    def is_administrator(self) -> bool:
        """Sees every clinic: by an administrator's membership, or as the site's superuser."""
        return self.is_superuser or any(m.role == Role.ADMIN for m in self.memberships.all())

    def clinics_as(self, *roles: Role) -> list[uuid.UUID]:
        """The ids of the clinics where this person has one of these roles."""
        return [m.clinic_id for m in self.memberships.all() if m.role in roles and m.clinic_id is not None]


class Membership(models.Model):
    """One role of one person at one clinic."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    clinic = models.ForeignKey(
        Clinic,
        on_delete=models.PROTECT,
        related_name="memberships",
        null=True,
        blank=True,
        help_text="Empty only for administrators, who see every clinic.",
    )
    role = models.CharField(max_length=16, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["clinic__name", "role"]
        constraints = [
            # a person has one role at one clinic, so "may she?" has one answer
            models.UniqueConstraint(
                fields=["user", "clinic"], name="membership_one_role_per_clinic", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=Q(clinic__isnull=False) | Q(role=Role.ADMIN), name="membership_clinic_unless_admin"
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.role} at {self.clinic or 'every clinic'}"
