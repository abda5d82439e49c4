"""Who is let in, with which role: what the commands and the administration both do."""

from dataclasses import dataclass

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Clinic, Membership, Role, User


@dataclass(frozen=True)
class Enrolled:
    """What `enrol` did, for whoever typed it."""

    user: User
    clinic: Clinic | None
    new_user: bool
    new_clinic: bool


@transaction.atomic
def enrol(
    username: str, role: Role, *, clinic_name: str = "", password: str | None = None, email: str | None = None
) -> Enrolled:
    """Makes or updates a person, and their one role at a clinic; without `clinic_name`, an administrator of all.

    Args:
        clinic_name: of the clinic; it is made where there is none of that name.
        password: None leaves the one there is (a new person can then not sign in).
        email: None leaves the one there is.

    Raises:
        ValidationError: the name, the password or the address cannot be used, or the clinic is missing.
    """
    if role != Role.ADMIN and not clinic_name:
        raise ValidationError(f"A {Role(role).label.lower()} works at a clinic; please name it.")
    user, new_user = _person(username, email=email)
    _set_password(user, password, new=new_user)
    user.full_clean(exclude=["password"])
    user.save()
    clinic, new_clinic = _clinic(clinic_name)
    before = is_administrator(user)
    Membership.objects.update_or_create(user=user, clinic=clinic, defaults={"role": role})
    give_or_take_administration(user, before=before)
    return Enrolled(user, clinic, new_user, new_clinic)


def is_administrator(user: User) -> bool:
    """By a membership, as the database has it now."""
    return Membership.objects.filter(user=user, role=Role.ADMIN).exists()


def give_or_take_administration(user: User, *, before: bool) -> None:
    """An administrator's membership opens the administration pages; losing the last one closes them.

    A superuser of `createsuperuser`, who never had such a membership, is left alone.
    """
    now = is_administrator(user)
    if now or before:
        user.is_staff = user.is_superuser = now
        user.save(update_fields=["is_staff", "is_superuser"])


def _person(username: str, *, email: str | None) -> tuple[User, bool]:
    name = User.normalize_username(username)
    user = User.objects.select_for_update().filter(username=name).first()
    found = user or User(username=name)
    if email is not None:
        found.email = email
    return found, user is None


def _set_password(user: User, password: str | None, *, new: bool) -> None:
    if password is not None:
        validate_password(password, user)
        user.set_password(password)
    elif new:
        user.set_unusable_password()


def _clinic(name: str) -> tuple[Clinic | None, bool]:
    if not name:
        return None, False
    found = Clinic.objects.filter(name=name).first()
    if found is not None:
        return found, False
    clinic = Clinic(name=name)
    clinic.full_clean()
    clinic.save()
    return clinic, True
