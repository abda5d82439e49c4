"""Is this process able to serve, and is the rest of the installation at work? Both answer within a second."""

import concurrent.futures
import functools
import os
import uuid
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, JsonResponse
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

SECONDS = 0.8
COME_BACK = {"Retry-After": "5"}
WORKERS_KEY = "relaypacs:worker:"  # each worker says that it lives, for so long
WORKER_LIVES = 30


@login_not_required
def ready(request: HttpRequest) -> JsonResponse:
    """`GET /health`: 200 when this process can serve, that is, when the database answers it."""
    ok = _within(_database)
    body = {"status": "ok" if ok else "database_unavailable"}
    return JsonResponse(body, status=200 if ok else 503, headers={} if ok else COME_BACK)


@extend_schema(
    responses={
        200: inline_serializer(
            "Health",
            {
                "status": serializers.CharField(),
                "version": serializers.CharField(),
                "checks": serializers.DictField(child=serializers.CharField()),
            },
        )
    }
)
@api_view(["GET"])
@authentication_classes([])
@permission_classes([AllowAny])
def health(request: Request) -> Response:
    """The state of everything a study needs on its way."""
    checks = {"database": _database, "broker": _broker, "workers": _workers, "storage": _storage}
    with concurrent.futures.ThreadPoolExecutor(len(checks)) as pool:
        found = {name: pool.submit(_within, check) for name, check in checks.items()}
        states = {name: "ok" if future.result() else "failed" for name, future in found.items()}
    ok = all(state == "ok" for state in states.values())
    body = {"status": "ok" if ok else "failed", "version": settings.VERSION, "checks": states}
    return Response(body, status=200 if ok else 503, headers={} if ok else COME_BACK)


def _within(check: Callable[[], Any]) -> bool:
    """True when the check ends well within SECONDS. One that hangs is left behind on its thread."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        return bool(pool.submit(check).result(timeout=SECONDS))
    except Exception:  # noqa: BLE001  whatever it is, the answer is that the check failed
        return False
    finally:
        pool.shutdown(wait=False)


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return True
    finally:
        connection.close()


@functools.cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)


def _broker() -> bool:
    return bool(_redis().ping())


def _workers() -> bool:
    """Every queue has a worker that said so lately."""
    wanted = {"interactive", "early", "delivery", "rendering", "maintenance"}
    keys: Any = _redis().scan_iter(match=f"{WORKERS_KEY}*", count=1000)
    return wanted <= {key.decode().split(":")[2] for key in keys}


def say_alive(queues: list[str], worker: str) -> None:
    """Called by a worker, every few seconds, for each queue it serves."""
    for queue in queues:
        _redis().set(f"{WORKERS_KEY}{queue}:{worker}", "1", ex=WORKER_LIVES)


def _storage() -> bool:
    root = settings.STORAGE_ROOT
    root.mkdir(parents=True, exist_ok=True)
    probe = root / f".probe-{uuid.uuid4().hex}"
    try:
        with probe.open("xb") as file:
            file.write(b"relaypacs")
            file.flush()
            os.fsync(file.fileno())
        return True
    finally:
        probe.unlink(missing_ok=True)
