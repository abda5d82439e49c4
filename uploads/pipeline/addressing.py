"""A destination gets its address: read strictly, and tried afresh when it changes."""

from collections.abc import Collection, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from uploads.models import Delivery, Destination
from uploads.pacs.address import AddressError, Peer, parse
from uploads.states import DeliveryState

# what was learned about the old address says nothing about the new one
UNTRIED: Mapping[str, Any] = {"down_since": None, "probe_at": None, "last_error": ""}


def peer_of(url: str) -> Peer:
    """Whom to call at this address; ValidationError with a sentence for the administrator."""
    try:
        return parse(url, default_calling_ae=settings.DICOM_AE_TITLE)
    except AddressError as error:
        raise ValidationError(error.detail, code=error.code) from error


def put(name: str, url: str, *, required: bool) -> tuple[Destination, bool]:
    """Makes or updates the destination of this name; also tells whether it is new. ValidationError as `peer_of`."""
    peer_of(url)
    Destination(name=name, url=url).clean_fields()
    destination = Destination.objects.filter(name=name).first()
    if destination is None:
        return Destination.objects.create(name=name, url=url, required=required), True
    changed = {"required"} | ({"url"} if destination.url != url else set())
    destination.url, destination.required = url, required
    save(destination, changed)
    return destination, False


def save(destination: Destination, changed: Collection[str]) -> None:
    """Writes these columns and no others: workers write the rest of the row at the same time."""
    moved = "url" in changed
    for column, value in UNTRIED.items() if moved else ():
        setattr(destination, column, value)
    with transaction.atomic():
        destination.save(update_fields={*changed, *(UNTRIED if moved else ())})
        if moved:  # the sweep finds them
            waiting = Delivery.objects.filter(Delivery.free(), destination=destination, state=DeliveryState.WAITING)
            waiting.filter(due_at__isnull=False).update(due_at=timezone.now())  # what was cancelled is due never
