"""A way through Django for one view that is asked a hundred times a second: its middleware, without a thread for each.

Django runs the hooks of a middleware on a thread of the request's own, asks every receiver of its signals there, and
reads the body before the view. Here the same hooks, in the same order, run where they are: none of them waits for
anything but the session's, where it has changed. The body stays on the wire for the view to take.
"""

import io
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

WIRE = "relaypacs.receive"  # where in the scope the view finds the channel of the body
LEFT_OUT = (  # of the middleware: what concerns files and pages, and what our view does by itself
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)
Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ShortWay:
    """To the view of this name, which must be asynchronous and exempt from CSRF and from LoginRequired."""

    def __init__(self, name: str, *, method: str) -> None:
        self._name, self._method = name, method
        self._on_error: list[Callable[[HttpRequest, Exception], HttpResponseBase | None]] = []
        handler: Any = convert_exception_to_response(self._view)
        for path in reversed([path for path in settings.MIDDLEWARE if path not in LEFT_OUT]):
            made = import_string(path)(handler)
            if hasattr(made, "process_exception"):
                self._on_error.append(made.process_exception)
            handler = convert_exception_to_response(_awaited(made, handler))
        self._handler: Handler = handler

    def match(self, scope: Any) -> ResolverMatch | None:
        """The view and its arguments, where this request goes the short way."""
        if scope["method"] != self._method or scope.get("root_path"):
            return None
        try:
            found = resolve(scope["path"])
        except Resolver404:
            return None
        return found if found.url_name == self._name else None

    async def __call__(self, match: ResolverMatch, scope: Any, receive: Any, send: Any) -> None:
        scope[WIRE] = receive
        try:
            request = ASGIRequest(scope, io.BytesIO())
        except UnicodeDecodeError:
            await _send(HttpResponseBadRequest(), send)
            return
        request.resolver_match = match
        await _send(await self._handler(request), send)

    async def _view(self, request: HttpRequest) -> HttpResponseBase:
        view, positional, named = request.resolver_match  # type: ignore[misc]  # set above
        try:
            response: HttpResponseBase = await view(request, *positional, **named)
        except Exception as error:
            for hook in self._on_error:
                if refusal := hook(request, error):
                    return refusal
            raise
        return response


def _awaited(made: Any, inner: Handler) -> Handler:
    """A middleware around `inner`, its hooks called in place unless it is asynchronous by itself."""
    if not isinstance(made, MiddlewareMixin):
        if not iscoroutinefunction(made):
            raise TypeError(f"{type(made).__name__} cannot be awaited: decide what it is to do for this view")
        asynchronous: Handler = made
        return asynchronous
    before, after = getattr(made, "process_request", None), getattr(made, "process_response", None)

    async def handler(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = (before(request) if before else None) or await inner(request)
        if after is None:
            return response
        if getattr(getattr(request, "session", None), "modified", False):  # it will be saved, in the database
            response = await sync_to_async(after, thread_sensitive=False)(request, response)
        else:
            response = after(request, response)
        return response

    return handler


async def _send(response: HttpResponseBase, send: Any) -> None:
    if not isinstance(response, HttpResponse):
        raise TypeError("a streamed answer cannot go the short way")
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = [(b"Set-Cookie", morsel.OutputString().encode("ascii")) for morsel in response.cookies.values()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers + cookies})
    await send({"type": "http.response.body", "body": response.content})
