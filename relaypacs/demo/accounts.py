"""The people, the clinic and the destination of a demo."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.db import transaction

from accounts.models import Role, User
from accounts.people import enrol
from uploads.models import Destination, ProofWanted

DESTINATION = "Demo PACS"
CLINIC = "Demo Clinic"
AE_TITLE = "DEMOPACS"
# The first one hands in the sample study.
ROLES = (Role.RADIOGRAPHER, Role.CLINICIAN, Role.RADIOLOGIST, Role.ADMIN)


@dataclass(frozen=True)
class Account:
    """Somebody to log in as."""

    role: str
    username: str


def ensure(password: str) -> list[Account]:
    """Makes the demo clinic, one person for each role and the destination, or brings them up to date."""
    people = [Account(role, role) for role in ROLES]
    with transaction.atomic():
        for person in people:
            enrol(
                person.username,
                Role(person.role),
                clinic_name="" if person.role == Role.ADMIN else CLINIC,
                password=None if _has(person.username, password) else password,
            )
        url = f"dicom://{AE_TITLE}@127.0.0.1:{settings.DEMO_PACS_PORT}"
        Destination.objects.update_or_create(
            name=DESTINATION, defaults={"url": url, "proof_wanted": ProofWanted.COMMITMENT}
        )
    return people


def _has(username: str, password: str) -> bool:
    """Setting the same password again would end the sessions of whoever is logged in."""
    user = User.objects.filter(username=username).first()
    return user is not None and check_password(password, user.password)
