"""Destinations as a whole: which may be sent to now, which are down and probed, which a person has paused."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import Count, Q
from django.utils import timezone

from accounts.models import User
from relaypacs import metrics
from uploads import hints
from uploads.models import Delivery, Destination, LeaseLost, Upload
from uploads.pipeline import early, sharing
from uploads.states import DELIVERY_LEGS, DeliveryState, UploadState

AT_ONCE = 50
BY_URGENCY = ("urgency", "created_at", "id")  # of what is due: as it came, however often it was tried meanwhile
# What may be tried when a destination that is down is probed, whenever it would be due: a study that is to be sent,
# and one that waits to be asked about, else nobody would find out that the destination is back.
PROBES = sorted(DELIVERY_LEGS)
ENDED = (UploadState.CANCELLED, UploadState.REJECTED, UploadState.EXPIRED)
TO_BE_SENT = (DeliveryState.PENDING, DeliveryState.WAITING, DeliveryState.SENDING)


def claim() -> Delivery | None:
    """The most urgent due delivery whose destination may be sent to now: STAT first, then as it came.

    A destination that is down gets one delivery as a probe per PROBE_SECONDS; a paused one gets none; in its quiet
    hours one gets STAT alone; no destination gets more associations at a time than it takes.
    """
    rows = claimable()
    for destination_id in _by_urgency(rows):
        delivery = _claim_at(destination_id, rows.filter(destination_id=destination_id))
        if delivery is not None:
            return delivery
    return None


def call_next() -> None:
    """A place has become free: whatever waited for it need not wait for the sweep."""
    pk = claimable().order_by(*BY_URGENCY).values_list("pk", flat=True).first()
    if pk is not None:
        hints.nudge("delivery", pk)


def claimable() -> "models.QuerySet[Delivery]":
    """Deliveries that may be worked on now, if their destination takes one more."""
    now = timezone.now()
    open_to_all = Q(destination__down_since__isnull=True, due_at__lte=now)
    probe = Q(destination__down_since__isnull=False, destination__probe_at__lte=now, state__in=PROBES)
    rows = Delivery.objects.filter(Delivery.free(), state__in=sorted(DELIVERY_LEGS), due_at__isnull=False)
    quiet = Q(destination__in=quiet_now(), urgency__gt=0, state__in=TO_BE_SENT)
    return rows.filter(open_to_all | probe, destination__paused=False).exclude(quiet)


def quiet_now() -> list[uuid.UUID]:
    """Destinations in their quiet hours."""
    now = timezone.now()
    rows = Destination.objects.filter(quiet_from__isnull=False)
    return [destination.pk for destination in rows if destination.is_quiet(now)]


def _by_urgency(rows: "models.QuerySet[Delivery]") -> list[uuid.UUID]:
    order = rows.values("destination").annotate(urgent=models.Min("urgency"), oldest=models.Min("due_at"))
    return [row["destination"] for row in order.order_by("urgent", "oldest")]


def _claim_at(destination_id: uuid.UUID, rows: "models.QuerySet[Delivery]") -> Delivery | None:
    """Claims under the destination's row lock, so that its limit and its probes hold between workers."""
    with transaction.atomic():
        destination = Destination.objects.select_for_update(skip_locked=True).filter(pk=destination_id).first()
        if destination is None or destination.paused:
            return None
        taken = sharing.held(destination)
        if taken >= destination.max_associations or (destination.down_since is not None and taken):
            return None
        delivery = Delivery.claim(rows.order_by(*BY_URGENCY))
        if delivery is not None:
            free = 1 if destination.down_since is not None else destination.max_associations - taken
            delivery.write(associations=min(free, sharing.worth(delivery)))
            if destination.down_since is not None:
                Destination.objects.filter(pk=destination.pk).update(probe_at=_next_probe())
        return delivery


def _next_probe() -> datetime:
    return timezone.now() + timedelta(seconds=settings.PROBE_SECONDS)


def went_down(destination: Destination, detail: str, *, retry_after: float = 0.0) -> None:
    """The destination cannot be reached: everything for it waits, but for one probe at a time.

    Args:
        retry_after: seconds for which it asked to be left alone.
    """
    rows = Destination.objects.filter(pk=destination.pk)
    rows.filter(down_since__isnull=True).update(down_since=timezone.now())
    probe_at = max(_next_probe(), timezone.now() + timedelta(seconds=retry_after))
    rows.update(probe_at=probe_at, last_error=detail[:400])


def came_up(destination: Destination) -> None:
    """The destination answers. What waited for it is due at once, the most urgent first."""
    now = timezone.now()
    with transaction.atomic():
        was_down = Destination.objects.filter(pk=destination.pk, down_since__isnull=False)
        recovered = was_down.update(down_since=None, probe_at=None, last_error="")
        Destination.objects.filter(pk=destination.pk).update(last_success_at=now)
        if recovered:
            _all_due(destination)


def pause(destination: Destination, because: str) -> None:
    """Nothing more is sent to it until a person resumes it."""
    Destination.objects.filter(pk=destination.pk).update(paused=True, paused_because=because[:400])


def resume(destination: Destination, actor: User | None) -> int:
    """Lets it have studies again; deliveries that were paused are pending again. Answers how many.

    An optional delivery may have been left behind by an upload that is verified by now: it goes as well.
    """
    with transaction.atomic():
        woken = _wake_all(destination, actor)
        Destination.objects.filter(pk=destination.pk).update(
            paused=False, paused_because="", down_since=None, probe_at=None, last_error=""
        )
        woken += _wake_all(destination, actor)  # what a worker has paused in this moment
        _all_due(destination)
    return woken


def _wake_all(destination: Destination, actor: User | None) -> int:
    paused = Delivery.objects.filter(destination=destination, state=DeliveryState.PAUSED)
    return sum(_wake(delivery, actor) for delivery in paused.exclude(upload__state__in=ENDED))


def _wake(delivery: Delivery, actor: User | None) -> bool:
    """What was sent early, of a study that is held or checked now, is due once all of it may go."""
    try:
        with transaction.atomic():
            delivery.guard()
            due_at = timezone.now() if early.may_go(Upload.objects.get(pk=delivery.upload_id)) else None
            delivery.move(DeliveryState.PENDING, because="resumed", actor=actor, due_at=due_at, failures=0)
    except LeaseLost:
        return False  # cancelled, or woken by somebody else, since it was read
    return True


def _all_due(destination: Destination) -> None:
    """What waits for the destination may be tried at once; the sweep and each other's ends wake the rest."""
    rows = Delivery.objects.filter(destination=destination, state__in=PROBES, due_at__isnull=False)
    rows.filter(Delivery.free(), state=DeliveryState.WAITING).update(due_at=timezone.now())
    for pk in rows.order_by(*BY_URGENCY).values_list("pk", flat=True)[:AT_ONCE]:
        hints.nudge("delivery", pk)


def measure() -> None:
    """Figures for the monitoring: what waits for each destination, and whether it may be sent to."""
    waits = Q(deliveries__state__in=TO_BE_SENT) & ~Q(deliveries__upload__state=UploadState.CANCELLED)
    rows = Destination.objects.filter(active=True).annotate(waiting=Count("deliveries", filter=waits))
    for destination in rows:
        up = destination.down_since is None and not destination.paused
        metrics.destination_up.labels(destination=destination.name).set(int(up))
        metrics.deliveries_waiting.labels(destination=destination.name).set(destination.waiting)
