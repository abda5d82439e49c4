"""Hints: "something is due" to the workers, "something changed" to the pages. Losing one does no harm."""

import functools
import logging
import uuid
from typing import Literal

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

Kind = Literal["upload", "delivery", "receipt"]
TASKS: dict[Kind, tuple[str, str]] = {
    "upload": ("uploads.tasks.advance", "interactive"),
    "delivery": ("uploads.tasks.deliver", "delivery"),
    "receipt": ("uploads.tasks.render", "rendering"),
}


def channel(upload_id: uuid.UUID) -> str:
    return f"relaypacs:upload:{upload_id}"


def nudge(kind: Kind, row_id: uuid.UUID) -> None:
    """Tells a worker, once the row is committed, that this row is due. The sweep finds it if the message is lost."""
    task, queue = TASKS[kind]

    def send() -> None:
        try:
            current_app.send_task(task, args=[str(row_id)], queue=queue)
        except (OperationalError, OSError, redis.RedisError) as error:
            logger.warning("broker unreachable, the sweep will find it: %s", type(error).__name__)

    transaction.on_commit(send)


def publish(upload_id: uuid.UUID) -> None:
    """Tells pages that follow this upload, once the change is committed, to read the truth again."""

    def send() -> None:
        try:
            _redis().publish(channel(upload_id), "")
        except (OSError, redis.RedisError) as error:
            logger.warning("redis unreachable, pages will poll: %s", type(error).__name__)

    transaction.on_commit(send)


@functools.cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10
    )
