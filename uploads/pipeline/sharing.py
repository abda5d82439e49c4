"""How many associations each delivery has at a destination: all that are free, and fewer as soon as others wait."""

import math
import time

from django.db import transaction
from django.db.models import Min, Q, QuerySet, Sum
from django.utils import timezone

from uploads.models import Delivery, Destination
from uploads.pipeline import ledger
from uploads.states import DELIVERY_LEGS, DeliveryState

ASK_SECONDS = 1.0
WORTH_ONE = 4  # images that are worth another association; opening one costs about as much as sending these


def held(destination: Destination) -> int:
    """Associations that living workers have at this destination now. Ask with its row locked."""
    rows = Delivery.objects.filter(destination=destination, lease_until__gte=timezone.now())
    return rows.aggregate(held=Sum("associations"))["held"] or 0


def worth(delivery: Delivery) -> int:
    """How many associations its work is worth: asking is worth one."""
    if delivery.state == DeliveryState.STORED:
        return 1
    waiting = delivery.entries.filter(answer__in=(*ledger.TO_SEND, *ledger.UNCERTAIN)).count()
    return max(1, math.ceil(waiting / WORTH_ONE))


def waiting_at(destination: Destination) -> "QuerySet[Delivery]":
    """Studies that could go to it now if it took more."""
    rows = Delivery.objects.filter(Delivery.free_and_due(), destination=destination, state__in=sorted(DELIVERY_LEGS))
    return rows if not destination.is_quiet(timezone.now()) else rows.filter(urgency=0)


class Share:
    """This delivery's associations: call it again and again while it sends.

    `gave_way` turns true where every association is taken, something more urgent waits, and this is the least urgent
    of those that have one: it stops between two images, and goes on later with what is left.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._worth = delivery.associations
        self._asked_at = time.monotonic()
        self.gave_way = False

    def expect(self, images: int) -> None:
        """So many are about to be sent: its worth now; where it has fewer associations than that it asks for more."""
        self._worth = max(1, math.ceil(images / WORTH_ONE))
        if self._worth > self._delivery.associations:
            self._ask()

    def __call__(self) -> int:
        if time.monotonic() - self._asked_at >= ASK_SECONDS:
            self._ask()
            self._asked_at = time.monotonic()
        return max(1, self._delivery.associations)

    def _ask(self) -> None:
        with transaction.atomic():
            destination = (
                Destination.objects.select_for_update(skip_locked=True).filter(pk=self._delivery.destination_id).first()
            )
            if destination is None:
                return  # somebody else is counting; the share stays as it is
            waiting = waiting_at(destination)
            count = waiting.count()
            fair = self._fair(destination, count)
            if fair != self._delivery.associations:
                self._delivery.write(associations=fair)
        if count and self._is_in_the_way(destination, waiting):
            self.gave_way = True

    def _fair(self, destination: Destination, waiting: int) -> int:
        mine = self._delivery.associations
        free = destination.max_associations - held(destination)
        if not waiting:
            return max(1, min(self._worth, mine + max(0, free)))
        running = Delivery.objects.filter(destination=destination, lease_until__gte=timezone.now()).count()
        return max(1, min(mine, destination.max_associations // (running + waiting)))

    def _is_in_the_way(self, destination: Destination, waiting: "QuerySet[Delivery]") -> bool:
        running = Delivery.objects.filter(destination=destination, lease_until__gte=timezone.now())
        if held(destination) < destination.max_associations or self._delivery.associations > 1:
            return False
        most_urgent = waiting.aggregate(urgency=Min("urgency"))["urgency"]
        if most_urgent is None or most_urgent >= self._delivery.urgency:
            return False
        behind = Q(urgency__gt=self._delivery.urgency) | Q(urgency=self._delivery.urgency, pk__gt=self._delivery.pk)
        return not running.filter(behind).exists()
