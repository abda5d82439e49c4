"""From validated to delivering: one delivery per study and destination, one ledger row per instance of each."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection
from django.utils import timezone

from uploads import hints
from uploads.models import Answer, Delivery, Destination, Instance, Study, Upload
from uploads.pipeline import admission, routing, settling
from uploads.pipeline.routing import Planned
from uploads.states import DeliveryState, UploadState


def dispatch(upload: Upload) -> None:
    """Opens the deliveries and moves the upload to delivering. Call inside a transaction that guards the upload.

    Where an image would go nowhere the upload fails, with all of it kept: a route that is missing is no reason to lose
    a part of a study.
    """
    among = routing.destinations()
    ways, nowhere = _plan(upload, among)
    if nowhere:
        _fail(upload, nowhere, any_destination=bool(among))
        return
    upload.move(UploadState.DELIVERING)
    for study, way in ways:
        send_along(upload, study, way)
    settling.settle(upload.pk)


def _plan(upload: Upload, among: Sequence[Destination]) -> tuple[list[tuple[Study, Planned]], int]:
    ways, nowhere = [], 0
    for study in upload.studies.all():
        planned, left = routing.plan(upload, study, list(study.instances.order_by("file_index")), among)
        ways += [(study, way) for way in planned]
        nowhere += len(left)
    return ways, nowhere


def _fail(upload: Upload, nowhere: int, *, any_destination: bool) -> None:
    if any_destination:
        code, why = "no_route", f"No route leads to a PACS for {nowhere} images."
    else:
        code, why = "no_destination", "No PACS is set up to take studies."
    detail = f"{why} The study is kept; ask an administrator, then retry."
    settling.end(upload, UploadState.FAILED, code=code, detail=detail)


def send_along(upload: Upload, study: Study, way: Planned, *, early: bool = False) -> Delivery:
    """Puts these images into the ledger of the way's delivery, opened if need be, and makes it due.

    Call inside a transaction that guards the upload. Images that must not go there are refused before anything is sent.
    """
    delivery = upload.deliveries.filter(study=study, destination=way.destination).first()
    if delivery is None:
        delivery = _open(upload, study, way, early=early)
    known = set(delivery.entries.values_list("instance_id", flat=True))
    enter(delivery, [pk for pk in way.instances if pk not in known])
    changes: dict[str, Any] = {"required": way.required, "due_at": timezone.now()}
    if delivery.state in (DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.SENDING):
        Delivery.objects.filter(pk=delivery.pk).update(**changes)
        hints.nudge("delivery", delivery.pk)
    return delivery


def _open(upload: Upload, study: Study, way: Planned, *, early: bool) -> Delivery:
    delivery = Delivery(
        upload=upload,
        study=study,
        destination=way.destination,
        destination_name=way.destination.name,
        required=way.required,
        state=DeliveryState.PENDING,
        urgency=upload.urgency,
        early=early,
    )
    delivery.save(force_insert=True)
    upload.transitions.create(delivery=delivery, from_state="", to_state=delivery.state)
    return delivery


ENTER = """
    INSERT INTO uploads_ledgerentry (delivery_id, instance_id, answer)
    SELECT %s, instance, %s FROM unnest(%s::bigint[]) AS instance
"""


def enter(delivery: Delivery, instances: Sequence[int]) -> None:
    """One ledger row for each of these instances."""
    with connection.cursor() as cursor:
        cursor.execute(ENTER, [delivery.pk, Answer.UNSENT, list(instances)])
    _refuse(delivery, Instance.objects.filter(pk__in=instances).order_by("file_index"))


def _refuse(delivery: Delivery, instances: Iterable[Instance]) -> None:
    """What must not go to this destination is never sent there (rules S13, S14)."""
    destination = delivery.destination
    if not (destination.deidentified or destination.required_tags):
        return
    for refusal in admission.refusals(destination, instances):
        delivery.entries.filter(instance_id=refusal.instance_pk).update(
            answer=Answer.REFUSED, code=refusal.code, comment=refusal.sentence[:400], answered_at=timezone.now()
        )
