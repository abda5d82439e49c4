"""From validated to delivering: one delivery per study and destination, one ledger row per instance of each."""

from collections.abc import Iterable, Sequence

from django.db import connection
from django.utils import timezone

from uploads import hints
from uploads.models import KEPT, UNUSABLE, Answer, Delivery, Destination, Instance, Study, Upload
from uploads.pipeline import admission, ledger, routing, settling
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
    served = []
    for study, way in ways:
        delivery = send_along(upload, study, way)
        _strike(delivery, way.instances)
        served.append(delivery.pk)
    for delivery in upload.deliveries.select_for_update().exclude(pk__in=served):
        _leave(delivery)
    settling.settle(upload.pk)


def _plan(upload: Upload, among: Sequence[Destination]) -> tuple[list[tuple[Study, Planned]], int]:
    ways, nowhere = [], 0
    for study in upload.studies.all():
        instances = list(study.instances.exclude(file__status__in=UNUSABLE).order_by("file_index"))
        if not instances:
            continue  # all of it was left out; what had gone out early stays listed
        planned, left = routing.plan(upload, study, instances, among)
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


def _strike(delivery: Delivery, instances: Sequence[int]) -> None:
    """What was entered early and is not to go there any more: left out by a person, or routed elsewhere since."""
    left = delivery.entries.filter(answer__in=ledger.TO_SEND).exclude(instance_id__in=instances)
    if left.exists() and delivery.state == DeliveryState.SENDING:
        delivery.move(DeliveryState.WAITING, because="left_out", due_at=timezone.now())  # its worker has it in hand
    left.filter(attempts=0).delete()
    tried = delivery.entries.filter(answer__in=(*ledger.TO_SEND, Answer.REFUSED))
    tried.exclude(instance_id__in=instances).update(**ledger.LEFT_OUT)


def _leave(delivery: Delivery) -> None:
    """A destination that got some of it early and is to have no more: it decides nothing, and nobody waits for it."""
    if delivery.state in (DeliveryState.PARTIAL, DeliveryState.REFUSED):
        delivery.write(required=False)
        return
    kept = delivery.entries.filter(answer__in=KEPT).exists()
    to = DeliveryState.PARTIAL if kept else DeliveryState.REFUSED
    detail = "Nothing more of this study is to go to this destination. What it has stored stays listed."
    delivery.move(to, because="no_route", required=False, last_error_code="no_route", last_error_detail=detail)


def send_along(upload: Upload, study: Study, way: Planned, *, early: bool = False) -> Delivery:
    """Puts these images into the ledger of the way's delivery, opened if need be, and makes it due.

    Call inside a transaction that guards the upload. Images that must not go there are refused before anything is sent.
    """
    delivery = upload.deliveries.filter(study=study, destination=way.destination).first()
    if delivery is None:
        delivery = _open(upload, study, way, early=early)
    known = set(delivery.entries.values_list("instance_id", flat=True))
    enter(delivery, [pk for pk in way.instances if pk not in known])
    rows = Delivery.objects.filter(pk=delivery.pk)
    rows.update(required=way.required)
    if delivery.state in (DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.SENDING):
        rows.update(due_at=timezone.now())
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
