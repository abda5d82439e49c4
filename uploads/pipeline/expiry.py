"""Certificates that end soon: a figure for the monitoring, and once a day a line in the log."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from relaypacs import metrics
from uploads.models import Destination

logger = logging.getLogger(__name__)

WARN_AHEAD = timedelta(days=30)


def ends_first(destination: Destination) -> datetime | None:
    """When the first of its certificates ends, ours or its own."""
    ends = (destination.certificates_end_at, destination.peer_certificate_ends_at)
    return min(filter(None, ends), default=None)


def measure() -> None:
    """Sets the figure for each active destination that has a certificate."""
    for name, ending in _endings():
        metrics.destination_certificate_ends.labels(destination=name).set(ending.timestamp())


def warn() -> int:
    """Warns of those that end within WARN_AHEAD; how many."""
    now = timezone.now()
    return sum(_warn(name, ending - now) for name, ending in _endings())


def _endings() -> Iterator[tuple[str, datetime]]:
    for destination in Destination.objects.filter(active=True):
        ending = ends_first(destination)
        if ending is not None:
            yield destination.name, ending


def _warn(name: str, left: timedelta) -> bool:
    if left <= timedelta(0):
        logger.warning("a certificate of destination %s has ended", name)
    elif left <= WARN_AHEAD:
        logger.warning("a certificate of destination %s ends in %d days", name, left.days)
    return left <= WARN_AHEAD
