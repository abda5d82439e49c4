"""All of Celery on one screen. A message is a hint: whoever gets it takes the most urgent row that is due."""

import gc
import logging.config
import os
import threading
import time
from typing import Any

import redis
from celery import Task, shared_task
from celery.signals import setup_logging, task_postrun, task_prerun, worker_process_init, worker_ready
from django.conf import settings
from django.core.management import call_command
from django.db import close_old_connections

from relaypacs import health, logs
from uploads.pacs.crew import LaneStuck
from uploads.pipeline import destinations, durability, expiry, legs, receipt
from uploads.pipeline import retention as retaining
from uploads.pipeline import sweep as sweeping

logger = logging.getLogger(__name__)


@shared_task(queue="interactive")
def advance(upload_id: str) -> None:
    """Assembles or validates."""
    legs.advance()


@shared_task(queue="early")
def accompany(upload_id: str) -> None:
    """Relays while receiving."""
    legs.accompany()


@shared_task(queue="delivery")
def deliver(delivery_id: str) -> None:
    """Sends or verifies."""
    try:
        legs.relay()
    except LaneStuck:
        logger.critical("a connection hangs beyond every deadline: this process ends, another takes over")
        os._exit(os.EX_TEMPFAIL)


@shared_task(queue="rendering", time_limit=120)
def render(receipt_id: str) -> None:
    """Renders a receipt."""
    receipt.render_next()


@shared_task(queue="maintenance", time_limit=120)
def sweep() -> None:
    """Finds what is due and was not hinted at."""
    sweeping.sweep()


@shared_task(queue="maintenance", time_limit=300)
def sync_packs() -> None:
    """Puts acknowledged octets on the medium."""
    durability.sync_all()


@shared_task(queue="maintenance", time_limit=3600)
def retention() -> None:
    """Removes bytes whose time has come, and tokens that no longer open anything."""
    retaining.retention()
    call_command("flushexpiredtokens")


@shared_task(queue="maintenance", time_limit=60)
def measure() -> None:
    """Sets the figures of the destinations."""
    destinations.measure()
    expiry.measure()


@shared_task(queue="maintenance", time_limit=60)
def warn_of_certificates() -> None:
    """Once a day, of those that end soon."""
    expiry.warn()


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    """Celery would install its own log format; ours is JSON with ids."""
    logging.config.dictConfig(settings.LOGGING)


@worker_process_init.connect
def _settle_heap(**_: Any) -> None:
    """What was imported stays: the collector need not walk it again for each few hundred rows of a study."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@worker_ready.connect
def _say_alive(sender: Any = None, **_: Any) -> None:
    """Tells the health page, every few seconds for as long as this worker lives, which queues it serves."""
    queues = [queue.name for queue in sender.task_consumer.queues]
    threading.Thread(target=_keep_saying, args=(queues, sender.hostname), daemon=True, name="alive").start()


def _keep_saying(queues: list[str], worker: str) -> None:
    while True:
        try:
            health.say_alive(queues, worker)
        except (redis.RedisError, OSError) as error:
            logger.warning("redis unreachable: %s", type(error).__name__)
        time.sleep(health.WORKER_LIVES / 5)


@task_prerun.connect
def _name_task(task_id: str = "", task: Task[Any, Any] | None = None, **_: Any) -> None:
    logs.task_id.set(task_id)
    close_old_connections()


@task_postrun.connect
def _forget_task(**_: Any) -> None:
    logs.task_id.set("")
