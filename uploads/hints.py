"""Hints: "something is due" to the workers, "something changed" to the pages. Losing one does no harm."""

import functools
import logging
import time
import uuid
from collections.abc import Callable
from typing import Literal

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
_quiet_until: dict[str, float] = {}

Kind = Literal["upload", "early", "delivery", "receipt"]
TASKS: dict[Kind, tuple[str, str]] = {
    "upload": ("uploads.tasks.advance", "interactive"),
    "early": ("uploads.tasks.accompany", "early"),
    "delivery": ("uploads.tasks.deliver", "delivery"),
    "receipt": ("uploads.tasks.render", "rendering"),
}


def channel(upload_id: uuid.UUID) -> str:
    return f"relaypacs:upload:{upload_id}"


def nudge(kind: Kind, row_id: uuid.UUID) -> None:
    """Tells a worker, once the row is committed, that this row is due. The sweep finds it if the message is lost."""
    task, queue = TASKS[kind]

    def send() -> None:
        current_app.send_task(task, args=[str(row_id)], queue=queue)

    transaction.on_commit(functools.partial(_tell, "broker", send))


def publish(upload_id: uuid.UUID) -> None:
    """Tells pages that follow this upload, once the change is committed, to read the truth again."""

    def send() -> None:
        _redis().publish(channel(upload_id), "")

    transaction.on_commit(functools.partial(_tell, "redis", send))


def _tell(messenger: str, send: Callable[[], None]) -> None:
    """One that hangs holds its caller for seconds: after that it is left alone for a while."""
    if time.monotonic() < _quiet_until.get(messenger, 0.0):
        return
    try:
        send()
    except (OperationalError, OSError, redis.RedisError) as error:
        _quiet_until[messenger] = time.monotonic() + QUIET_SECONDS
        logger.warning("%s unreachable, sweep and polling will find it: %s", messenger, type(error).__name__)


@functools.cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10
    )
