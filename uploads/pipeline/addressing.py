"""A destination gets its address: read strictly, tried afresh when it changes, and joined with what proves us to it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from relaypacs.sealing import SealBroken, unseal
from uploads.models import Auth, Delivery, Destination
from uploads.pacs.address import AddressError, Target, WebPeer, parse
from uploads.pacs.security import Basic, Bearer, Credentials, Tls
from uploads.states import DeliveryState

# what was learned about the old address says nothing about the new one
UNTRIED: Mapping[str, Any] = {
    "down_since": None,
    "probe_at": None,
    "last_error": "",
    "offers": {},
    "probed_at": None,
    "peer_certificate_ends_at": None,
}
# a new way there is as good as a new address: what failed by the old one is tried by the new
WAYS = frozenset({"url", "auth", "auth_user", "auth_secret", "tls_ca", "tls_certificate", "tls_key", "tls_server_name"})
UNASKED: Mapping[str, Any] = {"offers": {}, "probed_at": None}


def check(url: str) -> Target:
    """Where this address leads; ValidationError with a sentence for the administrator."""
    try:
        return parse(url, default_calling_ae=settings.DICOM_AE_TITLE)
    except AddressError as error:
        raise ValidationError(error.detail, code=error.code) from error


def target_of(destination: Destination) -> Target:
    """Where studies go, with what proves us there. Raises AddressError where the row has been made unusable."""
    return _proved(destination, destination.url)


def asked_at(destination: Destination) -> Target:
    """Where it is asked what it has: the same, unless the administrator named another door. Raises AddressError."""
    return _proved(destination, destination.query_url or destination.url)


def _proved(destination: Destination, url: str) -> Target:
    target = parse(url, default_calling_ae=settings.DICOM_AE_TITLE)
    try:
        tls = _tls(destination) if target.tls is not None else None
        if isinstance(target, WebPeer):
            return replace(target, tls=tls, credentials=_credentials(destination))
    except SealBroken as error:
        raise AddressError(
            "secret_unreadable", "Its password or key was sealed with another SECRET_KEY; please type it again."
        ) from error
    return replace(target, tls=tls)


def _tls(destination: Destination) -> Tls:
    return Tls(
        ca=destination.tls_ca,
        certificate=destination.tls_certificate,
        key=unseal(destination.tls_key),
        server_name=destination.tls_server_name,
    )


def _credentials(destination: Destination) -> Credentials | None:
    if destination.auth == Auth.BASIC:
        return Basic(destination.auth_user, unseal(destination.auth_secret))
    if destination.auth == Auth.BEARER:
        return Bearer(unseal(destination.auth_secret))
    return None


def save(destination: Destination, changed: Collection[str]) -> None:
    """Writes these columns and no others: workers write the rest of the row at the same time."""
    moved = not WAYS.isdisjoint(changed)
    forgotten = UNTRIED if moved else UNASKED if "query_url" in changed else {}
    for column, value in forgotten.items():
        setattr(destination, column, value)
    with transaction.atomic():
        destination.save(update_fields={*changed, *forgotten})
        if moved:  # the sweep finds them
            waiting = Delivery.objects.filter(Delivery.free(), destination=destination, state=DeliveryState.WAITING)
            waiting.filter(due_at__isnull=False).update(due_at=timezone.now())  # what was cancelled is due never
