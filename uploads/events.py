"""The truth as it changes: server-sent events for the pages that follow an upload."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from redis import asyncio as aioredis
from redis.exceptions import RedisError
from rest_framework.utils.encoders import JSONEncoder

from relaypacs.problems import answer, not_allowed
from uploads import selectors
from uploads.chunk_door import caller
from uploads.hints import channel
from uploads.states import FINAL

POLL_SECONDS = 5.0  # how stale a page may get while Redis is away
REST_SECONDS = 0.25  # at most so many truths a second, however fast the hints come
COMMENT_EVERY = 15.0  # so that proxies do not take a quiet stream for a dead one
LIFE_SECONDS = 3600.0  # then the browser connects again, and is authenticated again


@login_not_required  # answers 401, not a redirect to a page
async def events(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponseBase:
    """`GET /api/v1/uploads/{id}/events`: each event's data is the truth, sent when it has changed."""
    if request.method != "GET":
        return not_allowed(request, "GET")
    try:
        user = await sync_to_async(caller)(request)
        first = await _read(user, upload_id)
    except Exception as error:
        refusal: HttpResponse | None = answer(request, error)
        if refusal is None:
            raise
        return refusal
    response = StreamingHttpResponse(_stream(user, upload_id, first), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _read(user: Any, upload_id: uuid.UUID) -> str:
    """The truth as JSON; the connection goes back to the pool at once."""

    def run() -> str:
        try:
            return json.dumps(selectors.truth(selectors.get_visible(user, upload_id)), cls=JSONEncoder)
        finally:
            if not connection.in_atomic_block:
                connection.close()

    return await sync_to_async(run)()


async def _stream(user: Any, upload_id: uuid.UUID, last: str) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    began = spoke = loop.time()
    yield b"retry: 2000\n\n" + _event(last)
    async for _ in _hints(upload_id):
        now = loop.time()
        truth = await _read(user, upload_id)
        if truth != last:
            last, spoke = truth, now
            yield _event(truth)
        elif now - spoke > COMMENT_EVERY:
            spoke = now
            yield b": still here\n\n"
        if json.loads(truth)["state"] in FINAL or now - began > LIFE_SECONDS:
            return


def _event(truth: str) -> bytes:
    return f"data: {truth}\n\n".encode()


async def _hints(upload_id: uuid.UUID) -> AsyncIterator[None]:
    """Comes back when something may have changed: on a hint, or after POLL_SECONDS without one."""
    client = aioredis.Redis.from_url(settings.REDIS_URL, socket_timeout=POLL_SECONDS * 2, socket_connect_timeout=2)
    try:
        async with client.pubsub() as listener:
            subscribed = False
            while True:
                try:
                    if not subscribed:
                        await listener.subscribe(channel(upload_id))
                        subscribed = True
                        yield
                    await listener.get_message(ignore_subscribe_messages=True, timeout=POLL_SECONDS)
                except (RedisError, OSError):
                    subscribed = False
                    await asyncio.sleep(POLL_SECONDS)
                yield
                await asyncio.sleep(REST_SECONDS)
    finally:
        await client.aclose()
