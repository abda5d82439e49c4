"""What is under way and waiting, by destination and urgency: read for the administrator who looks after the queue."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from uploads.models import KEPT, Delivery, Destination, LedgerEntry
from uploads.states import DeliveryState, ServiceLevel, UploadState
from uploads.truth import next_attempt

D, U = DeliveryState, UploadState

MOST_OF_ONE = 50  # rows shown for one destination; how many there are is always said
LEVELS = {0: ServiceLevel.STAT, 1: ServiceLevel.EMERGENCY, 2: ServiceLevel.ROUTINE}
# the order in which a person wants to see them: what needs her, what waits, what goes
GROUPS: Mapping[str, tuple[DeliveryState, ...]] = {
    "stopped": (D.PARTIAL, D.REFUSED),
    "paused": (D.PAUSED,),
    "waiting": (D.PENDING, D.WAITING),
    "sending": (D.SENDING,),
    "asked": (D.STORED,),
}
GROUP_OF = {state: group for group, states in GROUPS.items() for state in states}


@dataclass(frozen=True, slots=True)
class Row:
    """One delivery, with what of it is stored."""

    delivery: Delivery
    level: ServiceLevel
    stored: int
    refused: int
    instances: int
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Line:
    """What stands before one destination. `rows` are the first; `counts` has all of them, by group."""

    destination: Destination
    counts: Mapping[str, int]
    urgent: int
    rows: Sequence[Row] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def more(self) -> int:
        return self.total - len(self.rows)


def lines(*, destination: uuid.UUID | None = None, group: str = "") -> list[Line]:
    """Every destination with something under way, waiting or stopped; the most urgent destinations first."""
    rows = open_deliveries()
    if destination is not None:
        rows = rows.filter(destination=destination)
    if group in GROUPS:
        rows = rows.filter(state__in=GROUPS[group])
    counts, urgent = _counted(rows)
    found = list(Destination.objects.filter(pk__in=counts))
    found.sort(key=lambda one: (-urgent[one.pk], one.name))
    return [Line(one, counts[one.pk], urgent[one.pk], _rows(rows.filter(destination=one))) for one in found]


def open_deliveries() -> QuerySet[Delivery]:
    """All but what has come to its end: shown to be there, redirected, cancelled with its upload."""
    under_way = Q(state__in=[*GROUPS["paused"], *GROUPS["waiting"], *GROUPS["sending"]])
    asked = Q(state=D.STORED, due_at__isnull=False)
    stopped = Q(state__in=GROUPS["stopped"], redirected_to__isnull=True, upload__pack_removed_at__isnull=True)
    ended = Q(upload__state__in=[U.CANCELLED, U.EXPIRED, U.REJECTED])
    return Delivery.objects.filter(under_way | asked | stopped).exclude(ended)


def _counted(rows: QuerySet[Delivery]) -> tuple[dict[uuid.UUID, Counter[str]], Counter[uuid.UUID]]:
    counts: dict[uuid.UUID, Counter[str]] = {}
    urgent: Counter[uuid.UUID] = Counter()
    grouped = rows.order_by().values_list("destination", "state", "urgency").annotate(n=Count("pk"))
    for destination, state, urgency, n in grouped:
        counts.setdefault(destination, Counter())[GROUP_OF[D(state)]] += n
        urgent[destination] += n if urgency < 2 else 0
    return counts, urgent


def _rows(rows: QuerySet[Delivery]) -> list[Row]:
    parts = rows.select_related("upload__clinic", "study", "destination").defer("upload__declared_instances")
    found = list(parts.order_by("urgency", "created_at", "pk")[:MOST_OF_ONE])
    counts = _ledgers(found)
    return [_row(one, *counts.get(one.pk, (0, 0, one.study.instance_count))) for one in found]


def _ledgers(found: Sequence[Delivery]) -> dict[uuid.UUID, tuple[int, int, int]]:
    rows = LedgerEntry.objects.filter(delivery__in=[one.pk for one in found]).values("delivery")
    counted = rows.annotate(
        stored=Count("pk", filter=Q(answer__in=KEPT)),
        refused=Count("pk", filter=Q(answer="refused")),
        instances=Count("pk"),
    )
    return {row["delivery"]: (row["stored"], row["refused"], row["instances"]) for row in counted}


def _row(delivery: Delivery, stored: int, refused: int, instances: int) -> Row:
    return Row(delivery, LEVELS[delivery.urgency], stored, refused, instances, next_attempt(delivery))
