"""Errors as answers: problem documents (RFC 9457) for programs, a plain page for people."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import defaults
from psycopg_pool import PoolTimeout
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from relaypacs.errors import RelayError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)

# What Django and the REST framework raise by themselves: status, code, sentence.
KNOWN: dict[type[Exception], tuple[int, str, str]] = {
    exceptions.NotAuthenticated: (401, "not_authenticated", "Please log in first."),
    exceptions.AuthenticationFailed: (401, "token_invalid", "This token is not valid; please log in again."),
    exceptions.PermissionDenied: (403, "forbidden", "You may not do this."),
    PermissionDenied: (403, "forbidden", "You may not do this."),
    RequestDataTooBig: (413, "too_large", "The request is larger than may be sent at once."),
    exceptions.NotFound: (404, "not_found", "There is nothing here that you can see."),
    Http404: (404, "not_found", "There is nothing here that you can see."),
    exceptions.MethodNotAllowed: (405, "method_not_allowed", "This address does not answer that method."),
    exceptions.NotAcceptable: (406, "not_acceptable", "This address answers in JSON only."),
    exceptions.UnsupportedMediaType: (415, "unsupported_media_type", "Please send JSON."),
    exceptions.Throttled: (429, "too_many_requests", "Too many requests; please wait a little."),
    exceptions.ParseError: (400, "invalid_json", "The request's body is not well-formed JSON."),
    exceptions.ValidationError: (400, "invalid_request", "The request has fields that cannot be used."),
}


def body(status: int, code: str, detail: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The members of a problem document; `type` is about:blank and `code` is what programs switch on."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    } | (dict(extra or {}))


def describe(error: Exception) -> tuple[int, str, str, dict[str, Any], int | None] | None:
    """Status, code, sentence, further members and Retry-After of an error; None for one that is our own fault."""
    if isinstance(error, RelayError):
        retry_after = 5 if error.retry_after is None and error.status in (429, 503) else error.retry_after
        return error.status, error.code, error.detail, error.extra, retry_after
    if isinstance(error, DATABASE_AWAY):
        return 503, "database_unavailable", "The database does not answer at the moment; please try again.", {}, 5
    for kind, (status, code, detail) in KNOWN.items():
        if isinstance(error, kind):
            extra = {"errors": error.detail} if isinstance(error, exceptions.ValidationError) else {}
            wait = getattr(error, "wait", None)
            return status, code, detail, extra, None if wait is None else round(wait) + 1
    return None


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """The REST framework's exception handler."""
    known = describe(error)
    if known is None:
        return None
    status, code, detail, extra, retry_after = known
    headers = {"WWW-Authenticate": 'Bearer realm="api"'} if status == 401 else {}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    set_rollback()
    return Response(body(status, code, detail, extra), status=status, headers=headers, content_type=CONTENT_TYPE)


def answer(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """The same for what is not the REST framework's: the chunk door answers programs, pages answer people."""
    known = describe(error)
    if known is None:
        return None
    status, code, detail, extra, retry_after = known
    response = _answer(request, status, code, detail, extra)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="api"'
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def is_api(request: HttpRequest) -> bool:
    return f"{request.path}/".startswith("/api/")


def not_allowed(request: HttpRequest, *methods: str) -> HttpResponse:
    """405 for a view that is not the REST framework's."""
    status, code, detail = KNOWN[exceptions.MethodNotAllowed]
    response = _answer(request, status, code, detail)
    response["Allow"] = ", ".join(methods)
    return response


def _answer(
    request: HttpRequest, status: int, code: str, detail: str, extra: Mapping[str, Any] | None = None
) -> HttpResponse:
    if is_api(request):
        return JsonResponse(body(status, code, detail, extra), status=status, content_type=CONTENT_TYPE)
    return render(request, "error.html", {"status": status, "code": code, "detail": detail}, status=status)


class ProblemMiddleware:
    """Turns errors that a plain view lets through into answers."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        response = answer(request, error)
        if response is None:
            logger.error("a view crashed: %s", type(error).__name__, exc_info=error)
        return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request):
        return _answer(request, 400, "bad_request", "This request cannot be answered as it is.")
    return defaults.bad_request(request, exception)  # templates/400.html


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, "not_found", "There is nothing here that you can see.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, "forbidden", "You may not do this.")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, 403, "forbidden", "This form has grown old; please go back, reload the page and try again.")


def crashed(request: HttpRequest) -> HttpResponse:
    return _answer(request, 500, "internal_error", "Something went wrong on our side. What was received is kept.")
