"""The queue as the administrator sees it: what stands before each destination, kept true while the page is open."""

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import User
from uploads import queue
from uploads.admin import standing
from uploads.models import Delivery

if TYPE_CHECKING:
    DeliveryModelAdmin = admin.ModelAdmin[Delivery]
else:
    DeliveryModelAdmin = admin.ModelAdmin

GROUP_WORDS = {
    "stopped": "stopped",
    "paused": "paused",
    "waiting": "waiting",
    "sending": "being sent",
    "asked": "stored, being asked about",
}


def administrator(request: HttpRequest) -> User:
    """Who is asking; nobody else may steer."""
    if not isinstance(request.user, User) or not request.user.is_administrator:
        raise PermissionDenied
    return request.user


def page(desk: DeliveryModelAdmin, request: HttpRequest) -> HttpResponse:
    """The whole page."""
    administrator(request)
    context = {
        **desk.admin_site.each_context(request),
        "opts": desk.opts,
        "title": "The queue",
        **_shown(request),
    }
    return render(request, "admin/uploads/delivery/queue.html", context)


def fragment(desk: DeliveryModelAdmin, request: HttpRequest) -> HttpResponse:
    """What changes on it, as JSON: {html, at, total}. The page asks for it every few seconds."""
    administrator(request)
    shown = _shown(request)
    html = render_to_string("admin/uploads/delivery/_queue.html", shown, request)
    return JsonResponse({"html": html, "at": shown["at"].isoformat(), "total": shown["total"]})


def _shown(request: HttpRequest) -> dict[str, Any]:
    group = request.GET.get("group", "")
    lines = queue.lines(destination=_uuid(request.GET.get("destination", "")), group=group)
    return {
        "lines": [(line, standing.of(line.destination), _counts(line)) for line in lines],
        "groups": GROUP_WORDS.items(),
        "group": group if group in GROUP_WORDS else "",
        "destination": request.GET.get("destination", "") if lines else "",
        "query": request.GET.urlencode(),
        "total": sum(line.total for line in lines),
        "at": timezone.now(),
    }


def _counts(line: queue.Line) -> str:
    return ", ".join(f"{line.counts[group]} {words}" for group, words in GROUP_WORDS.items() if line.counts[group])


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
