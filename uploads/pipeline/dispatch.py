"""From validated to delivering: one delivery per study and destination, one ledger row per instance of each."""

from collections.abc import Sequence

from django.utils import timezone

from uploads import hints
from uploads.models import Delivery, Destination, LedgerEntry, Study, Upload
from uploads.pipeline import routing, settling
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
    now = timezone.now()
    deliveries = [open_delivery(upload, study, way) for study, way in ways]
    upload.move(UploadState.DELIVERING)
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in deliveries]).update(due_at=now)


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


def open_delivery(upload: Upload, study: Study, way: Planned) -> Delivery:
    """A delivery and its ledger, `pending`; it is due when the caller says so."""
    delivery = Delivery(
        upload=upload,
        study=study,
        destination=way.destination,
        destination_name=way.destination.name,
        required=way.required,
        state=DeliveryState.PENDING,
        urgency=upload.urgency,
    )
    delivery.save(force_insert=True)
    enter(delivery, way.instances)
    upload.transitions.create(delivery=delivery, from_state="", to_state=delivery.state)
    hints.nudge("delivery", delivery.pk)
    return delivery


def enter(delivery: Delivery, instances: Sequence[int]) -> None:
    """One ledger row for each of these instances."""
    rows = [LedgerEntry(delivery=delivery, instance_id=pk) for pk in instances]
    LedgerEntry.objects.bulk_create(rows, batch_size=2000)
