"""From validated to delivering: one delivery per study and destination, one ledger row per instance of each."""

from django.utils import timezone

from uploads import hints
from uploads.models import Delivery, Destination, LedgerEntry, Study, Upload
from uploads.pipeline import settling
from uploads.states import DeliveryState, UploadState


def dispatch(upload: Upload) -> None:
    """Opens the deliveries and moves the upload to delivering. Call inside a transaction that guards the upload."""
    destinations = list(Destination.objects.filter(active=True))
    if not destinations:
        settling.end(
            upload,
            UploadState.FAILED,
            code="no_destination",
            detail="No PACS is set up to take studies. The study is kept; ask an administrator, then retry.",
        )
        return
    now = timezone.now()
    deliveries = [
        _delivery(upload, study, destination) for study in upload.studies.all() for destination in destinations
    ]
    Delivery.objects.bulk_create(deliveries)
    for delivery in deliveries:
        LedgerEntry.objects.bulk_create(
            [LedgerEntry(delivery=delivery, instance_id=pk) for pk in _instances(delivery)], batch_size=2000
        )
        upload.transitions.create(delivery=delivery, from_state="", to_state=delivery.state)
        hints.nudge("delivery", delivery.pk)
    upload.move(UploadState.DELIVERING)
    Delivery.objects.filter(upload=upload).update(due_at=now)


def _delivery(upload: Upload, study: Study, destination: Destination) -> Delivery:
    return Delivery(
        upload=upload,
        study=study,
        destination=destination,
        destination_name=destination.name,
        required=destination.required,
        state=DeliveryState.PENDING,
        urgency=upload.urgency,
    )


def _instances(delivery: Delivery) -> list[int]:
    return list(delivery.study.instances.order_by("file_index").values_list("pk", flat=True))
