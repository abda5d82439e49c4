"""What an administrator does with one delivery: sends it now, sends what was refused, redirects it, gives it up.

Each verb locks the upload before the delivery, as a cancel does, and keeps its hands off what a worker holds: while a
study is being sent, only the worker knows what the PACS has just answered.
"""

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from relaypacs.errors import NotAllowed, Rejected, WrongState
from uploads import hints
from uploads.models import FINAL, KEPT, UNUSABLE, Answer, Delivery, Destination, Instance, Upload
from uploads.pipeline import admission, dispatch, ledger, settling
from uploads.states import DeliveryState, UploadState

U, D = UploadState, DeliveryState

STEERABLE = frozenset({U.DELIVERING, U.DELIVERED, U.VERIFIED, U.FAILED})  # verified: an optional one may lag behind
STOPPED = (D.PARTIAL, D.REFUSED)
SENDABLE = frozenset({D.WAITING, D.PAUSED, *STOPPED})
REDIRECTABLE = frozenset({D.PENDING, *SENDABLE})
OPEN = frozenset({D.PENDING, D.WAITING, D.PAUSED})
LONGEST_REASON = 1000


def retry_now(delivery: Delivery, actor: User) -> Delivery:
    """Sends at once what has no final answer yet. Raises WrongState, NotAllowed."""
    with transaction.atomic():
        delivery = _held(delivery, actor, among=SENDABLE)
        if delivery.state in STOPPED and not delivery.entries.exclude(answer__in=FINAL).exists():
            raise WrongState("nothing_to_send", "Every image has its final answer; only those refused can be retried.")
        _go(delivery, actor, because="retried")
    return delivery


def retry_refused(delivery: Delivery, actor: User) -> Delivery:
    """Sends what was refused once more; what is stored stays stored. Raises WrongState, NotAllowed."""
    with transaction.atomic():
        delivery = _held(delivery, actor, among=STOPPED)
        if not unrefuse(delivery):
            raise WrongState("nothing_refused", "The PACS has refused no image of this study that may be sent there.")
        _go(delivery, actor, because="retried_refused")
    return delivery


def ask_again(delivery: Delivery, actor: User) -> Delivery:
    """Asks the PACS anew what it has of a study that rests without proof. Raises WrongState, NotAllowed."""
    with transaction.atomic():
        delivery = _held(delivery, actor, among=frozenset({D.STORED}))
        if delivery.due_at is not None:
            raise WrongState("asked_already", "The PACS is being asked, or will be; there is nothing to ask again.")
        delivery.entries.update(fetched_sha256="", fetched_content_sha256="")
        delivery.write(
            due_at=timezone.now(),
            questions=0,
            last_error_code="",
            last_error_detail="",
            lease_epoch=delivery.lease_epoch + 1,
        )
        delivery.upload.transitions.create(
            delivery=delivery, from_state=D.STORED, to_state=D.STORED, because="asked_again", actor=actor
        )
        hints.nudge("delivery", delivery.pk)
    return delivery


def unrefuse(delivery: Delivery) -> int:
    """Lets what the PACS refused be sent again; what must not go there (rules S13, S14) stays refused. How many."""
    refused = delivery.entries.filter(answer=Answer.REFUSED)
    barred = admission.refusals(delivery.destination, Instance.objects.filter(entries__in=refused))
    rows = refused.exclude(instance__in=[refusal.instance_pk for refusal in barred])
    return rows.update(answer=Answer.UNSENT, attempts=0)


def redirect(delivery: Delivery, to: Destination, *, actor: User, reason: str) -> Delivery:
    """Ends this delivery and opens one of the same images to another destination, which is answered.

    What the old destination has stored stays listed with it. Raises WrongState, NotAllowed, Rejected.
    """
    reason = _reason(reason)
    with transaction.atomic():
        delivery = _held(delivery, actor, among=REDIRECTABLE)
        if not to.active:
            raise WrongState("not_active", f"{to} is not active; no study is relayed to it.")
        if Delivery.objects.filter(study=delivery.study, destination=to).exists():
            raise WrongState("there_already", f"This study has its own delivery to {to} already.")
        fresh = _open(delivery, to, actor)
        note = _note(delivery, "redirected", f"Sent to {to} instead. {reason}")
        _end(delivery, actor, because="redirected", notes=note, redirected_to=fresh, required=False)
        settling.settle(delivery.upload_id)
    return fresh


def give_up(delivery: Delivery, *, actor: User, reason: str) -> Delivery:
    """Sends no more of it there; a required delivery fails its upload. Raises WrongState, NotAllowed, Rejected."""
    reason = _reason(reason)
    with transaction.atomic():
        delivery = _held(delivery, actor, among=OPEN)
        detail = f"Given up by an administrator. {reason}"
        error = {"last_error_code": "given_up", "last_error_detail": detail}
        _end(delivery, actor, because="given_up", notes=_note(delivery, "given_up", detail), **error)
        settling.settle(delivery.upload_id)
    return delivery


def _held(delivery: Delivery, actor: User, *, among: Collection[DeliveryState]) -> Delivery:
    """The row as it is now, locked behind its upload's, if this may be done with it."""
    if not actor.is_administrator:
        raise NotAllowed("forbidden", "Only an administrator may steer a delivery.")
    upload = Upload.objects.select_for_update().get(pk=delivery.upload_id)
    rows = Delivery.objects.select_for_update(of=("self",)).select_related("destination", "study")
    delivery = rows.get(pk=delivery.pk)
    _check_upload(upload)
    if delivery.state == D.SENDING or (delivery.lease_until is not None and delivery.lease_until >= timezone.now()):
        raise WrongState("busy", "A worker has this study in its hands; pause the destination, or wait a moment.")
    if delivery.redirected_to_id is not None:
        raise WrongState("redirected", "This study was redirected; the other delivery is the one to steer.")
    if delivery.state not in among:
        raise WrongState("wrong_state", f"This delivery is {delivery.state}; that cannot be done with it.")
    return delivery


def _check_upload(upload: Upload) -> None:
    unchecked = upload.state == U.FAILED and upload.failed_from != U.DELIVERING
    if upload.state not in STEERABLE or unchecked:
        raise WrongState("wrong_state", f"This upload is {upload.state}; its deliveries cannot be steered.")
    if upload.pack_removed_at is not None:
        raise WrongState("pack_removed", "The images were removed when their time had come; please upload them again.")


def _reason(reason: str) -> str:
    if not reason.strip():
        raise Rejected("reason_required", "Please say why.")
    return reason.strip()[:LONGEST_REASON]


def _go(delivery: Delivery, actor: User, *, because: str) -> None:
    now = timezone.now()
    changes: dict[str, Any] = {"failures": 0, "questions": 0, "last_error_code": "", "last_error_detail": ""}
    delivery.move(D.PENDING, because=because, actor=actor, due_at=now, **changes)
    Destination.objects.filter(pk=delivery.destination_id, down_since__isnull=False).update(probe_at=now)
    settling.settle(delivery.upload_id)


def _end(delivery: Delivery, actor: User, *, because: str, **changes: Any) -> None:
    """Partial where the PACS has stored some of it, else refused; one that had ended so is written down once more."""
    if delivery.state in STOPPED:
        delivery.write(**changes, lease_epoch=delivery.lease_epoch + 1, due_at=None)
        state = delivery.state
        delivery.upload.transitions.create(
            delivery=delivery, from_state=state, to_state=state, because=because, actor=actor
        )
        hints.publish(delivery.upload_id)
        return
    kept = delivery.entries.filter(answer__in=KEPT).exists()
    delivery.move(D.PARTIAL if kept else D.REFUSED, because=because, actor=actor, **changes)


def _note(delivery: Delivery, code: str, detail: str) -> list[dict[str, Any]]:
    left = delivery.entries.exclude(answer__in=(*KEPT, Answer.SKIPPED)).count()
    if unknown := delivery.entries.filter(answer__in=ledger.UNCERTAIN).count():
        detail += f" Of {unknown} of them it is not known whether they had arrived."
    return [*delivery.notes, {"code": code, "detail": detail, "instances": left}]


def _open(old: Delivery, to: Destination, actor: User) -> Delivery:
    fresh = Delivery.objects.create(
        upload_id=old.upload_id,
        study=old.study,
        destination=to,
        destination_name=to.name,
        required=old.required,
        state=D.PENDING,
        urgency=old.urgency,
        due_at=timezone.now(),
    )
    rows = old.entries.exclude(instance__file__status__in=UNUSABLE)  # went early, and left out of the study since
    images = rows.order_by("instance__file_index").values_list("instance", flat=True)
    dispatch.enter(fresh, list(images))
    old.upload.transitions.create(
        delivery=fresh, from_state="", to_state=fresh.state, because="redirected", actor=actor
    )
    hints.nudge("delivery", fresh.pk)
    return fresh
