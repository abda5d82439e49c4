"""The figures at /metrics: django-prometheus's own, and those that the deployment gates ask for."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

requests_total = Counter("http_requests_total", "HTTP requests answered, by status code.", ["status"])
chunk_bytes_total = Counter("relaypacs_chunk_bytes_total", "Octets of chunks acknowledged.")
legs_total = Counter("relaypacs_legs_total", "Legs of the journey run, by leg and how they ended.", ["leg", "ended"])
instances_total = Counter("relaypacs_instances_total", "Answers of PACS to instances, by kind.", ["kind"])
deliveries_waiting = Gauge(
    "relaypacs_deliveries_waiting",
    "Studies that are still to be sent to a destination.",
    ["destination"],
    multiprocess_mode="mostrecent",
)
destination_up = Gauge(
    "relaypacs_destination_up",
    "1 where a destination may be sent to, 0 where it is down or paused.",
    ["destination"],
    multiprocess_mode="mostrecent",
)
destination_certificate_ends = Gauge(
    "destination_certificate_ends_timestamp",
    "When the first certificate of a destination ends, ours or its own, in seconds since 1970.",
    ["destination"],
    multiprocess_mode="mostrecent",
)


class RequestMetricsMiddleware:
    """Counts each answer by its status."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self.get_response):
            return self._count_later(self.get_response(request))
        return self._counted(self.get_response(request))

    async def _count_later(self, answer: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        return self._counted(await answer)

    def _counted(self, response: HttpResponseBase) -> HttpResponseBase:
        requests_total.labels(status=str(response.status_code)).inc()
        return response


@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text over every process of this machine that shares PROMETHEUS_MULTIPROC_DIR."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
