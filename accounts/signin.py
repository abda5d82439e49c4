"""The one way in: name, password and, where there is a second factor, its code. Pages, API and admin all come here."""

from collections.abc import Iterator

import django_otp
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from django_otp.models import Device

from accounts.models import User
from relaypacs.errors import RelayError

LONGEST_PASSWORD = 1024  # characters; a hash over megabytes would keep a processor busy for whoever asks


class SignInRefused(RelayError):
    """The person is not let in; `code` says what is missing."""

    status = 401


@sensitive_variables()
def sign_in(request: HttpRequest, username: str, password: str, otp: str = "") -> User:
    """Who this is, or SignInRefused: `invalid_credentials`, `otp_required` or `otp_invalid`.

    It opens no session and gives no token; that is the caller's door. An unknown name costs a hash as a known one does
    (Django's ModelBackend), so that time does not tell who exists.
    """
    user = authenticate(request, username=User.normalize_username(username), password=password)
    if not isinstance(user, User):
        raise SignInRefused("invalid_credentials", "This name and password do not belong together.")
    devices = list(_second_factors(user))
    if devices:
        user.otp_device = _accepting(devices, user, otp)
    return user


def has_second_factor(user: User) -> bool:
    return next(_second_factors(user), None) is not None


def _second_factors(user: User) -> Iterator[Device]:
    yield from django_otp.devices_for_user(user)


def _accepting(devices: list[Device], user: User, otp: str) -> Device:
    if not otp:
        raise SignInRefused("otp_required", "Please enter the code of your second factor as well.")
    for device in devices:
        # the one door of django-otp that locks the device: a code is taken once, and every wrong guess is counted
        if django_otp.verify_token(user, device.persistent_id, otp):
            return device
    raise SignInRefused("otp_invalid", "This code is not right or was used before; please wait for the next one.")
