"""What an upload is, told from its deliveries: received is not delivered, and delivered is not verified."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from uploads import signals
from uploads.models import Delivery, Receipt, Upload
from uploads.states import UNDECIDED, DeliveryState, UploadState

D, U = DeliveryState, UploadState

# Most studies are verified seconds after they are delivered, and then that is the account to print.
MAY_YET_BE_VERIFIED = timedelta(seconds=20)
# An account is printed whenever nothing more may happen by itself.
ACCOUNTED = frozenset({U.DELIVERED, U.VERIFIED, U.FAILED, U.REJECTED, U.CANCELLED})


def verdict(deliveries: Sequence[Delivery]) -> UploadState:
    """The state that the required deliveries make; optional ones never decide, unless there are no others.

    One that was redirected has left its part to the delivery that took its place.
    """
    states = {row.state for row in _deciding(deliveries)}
    if not states or states & UNDECIDED:
        return U.DELIVERING
    if states & {D.PARTIAL, D.REFUSED}:
        return U.FAILED
    return U.VERIFIED if states == {D.VERIFIED} else U.DELIVERED


def _deciding(deliveries: Sequence[Delivery]) -> list[Delivery]:
    standing = [row for row in deliveries if row.redirected_to_id is None]
    return [row for row in standing if row.required] or standing


def settle(upload_id: uuid.UUID) -> None:
    """Moves the upload to what its deliveries say. Call after a delivery has moved, in the same transaction."""
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=upload_id)
        failed_there = upload.state == U.FAILED and upload.failed_from == U.DELIVERING
        if upload.state not in (U.DELIVERING, U.DELIVERED) and not failed_there:
            return
        deliveries = list(upload.deliveries.all())
        to = verdict(deliveries)
        if failed_there and to != U.DELIVERING:
            return  # from here on by a retry alone
        if to == U.VERIFIED and upload.state == U.DELIVERING:
            _move(upload, U.DELIVERED, deliveries)
        if to != upload.state:
            _move(upload, to, deliveries)


def _move(upload: Upload, to: UploadState, deliveries: Sequence[Delivery]) -> None:
    now = timezone.now()
    if to == U.DELIVERED:
        upload.move(to, delivered_at=upload.delivered_at or now)
        signals.delivered.send(Upload, upload=upload)
    elif to == U.VERIFIED:
        upload.move(to, verified_at=now, ended_at=now)
    elif to == U.FAILED:
        error = next((row for row in _deciding(deliveries) if row.state in (D.PARTIAL, D.REFUSED)), None)
        upload.move(
            to,
            because=error.last_error_code if error else "",
            failed_from=U.DELIVERING,
            problem_code=(error.last_error_code if error else "") or "refused",
            problem_detail=_why(error),
        )
    else:
        fresh: dict[str, Any] = {"problem_code": "", "problem_detail": "", "failed_from": ""}
        upload.move(to, because="not every destination has every instance", **fresh)
    account(upload)


def _why(delivery: Delivery | None) -> str:
    if delivery is None:
        return "A destination did not take the study."
    return (
        f"{delivery.destination_name} did not take every image: {delivery.last_error_detail or 'no reason was given.'}"
    )


def account(upload: Upload, *, at_once: bool = False) -> None:
    """Asks for the receipt of the state the upload is in now, once per state; an earlier one is asked for anew.

    Whoever prints it just now prints what was so before, and is fenced off.
    """
    if upload.state not in ACCOUNTED:
        return
    now = timezone.now()
    wait = MAY_YET_BE_VERIFIED if upload.state == U.DELIVERED and not at_once else timedelta(0)
    with transaction.atomic():
        receipt, _ = Receipt.objects.get_or_create(upload=upload, for_state=upload.state)
        asked = {"due_at": now + wait, "asked_at": now, "rendered_at": None, "lease_until": None, "lease_owner": ""}
        Receipt.objects.filter(pk=receipt.pk).update(**asked, lease_epoch=F("lease_epoch") + 1)
        if not wait:
            outdone = Receipt.objects.filter(upload=upload, for_state=U.DELIVERED, rendered_at__isnull=True)
            outdone.exclude(pk=receipt.pk).delete()
            receipt.ask()


def account_now(upload_id: uuid.UUID) -> None:
    """An account that waits is printed at once, because somebody asks for it."""
    waiting = Receipt.objects.filter(upload_id=upload_id, rendered_at__isnull=True, due_at__gt=timezone.now())
    for receipt in waiting.filter(Receipt.free()):
        Receipt.objects.filter(pk=receipt.pk).update(due_at=timezone.now())
        receipt.ask()


def end(
    upload: Upload, to: UploadState, *, code: str, detail: str, because: str = "", actor: User | None = None
) -> None:
    """Ends an upload that cannot go on: rejected, or failed with the leg it failed in kept for a retry."""
    with transaction.atomic():
        upload.move(
            to,
            because=because or code,
            actor=actor,
            problem_code=code,
            problem_detail=detail,
            failed_from=upload.state if to == U.FAILED else "",
            ended_at=timezone.now() if to == U.REJECTED else None,
        )
        account(upload)
