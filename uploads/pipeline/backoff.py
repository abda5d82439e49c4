"""How long to wait before trying again."""

import random
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone


def next_try(failures: int, *, first: float | None = None) -> datetime:
    """Exponential from the first wait (seconds), capped, with jitter of a quarter so that studies do not march in step.

    Args:
        failures: how often it failed in a row, from 1.
    """
    first = settings.RETRY_FIRST_SECONDS if first is None else first
    wait = min(settings.RETRY_CAP_SECONDS, first * 2 ** min(failures - 1, 20))
    return timezone.now() + timedelta(seconds=wait * random.uniform(0.75, 1.25))  # nosec B311
