"""Log lines as JSON, each with the request, upload and task it belongs to, and never with patient data."""

import contextlib
import contextvars
import logging
import re
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
upload_id: contextvars.ContextVar[str] = contextvars.ContextVar("upload_id", default="")
task_id: contextvars.ContextVar[str] = contextvars.ContextVar("task_id", default="")

_IDS = {"request_id": request_id, "upload_id": upload_id, "task_id": task_id}
_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class IdsFilter(logging.Filter):
    """Puts the ids of the work in hand on every record, and takes off what Celery says of a crash in its own words."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "celery.app.trace" and isinstance(record.args, dict):
            record.args = {**record.args, "exc": "", "traceback": "", "args": "", "kwargs": "", "return_value": ""}
            record.__dict__.pop("data", None)
        for name, variable in _IDS.items():
            value = variable.get()
            if value and not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(BaseJsonFormatter):
    """One line, one JSON object; line feeds in values are escaped by JSON itself."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )

    def formatException(self, ei: Any) -> str:  # noqa: N802  the name is logging's
        """Where it happened and the kinds of the errors, never what they say: that may quote a name or a UID."""
        lines = []
        error = ei[1]
        while error is not None:
            lines += [type(error).__qualname__ + "\n", *traceback.format_tb(error.__traceback__)]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(lines).rstrip()


@contextlib.contextmanager
def about(*, upload: object = "", task: object = "") -> Iterator[None]:
    """Names the upload or task that the log lines inside belong to."""
    tokens = [
        (variable, variable.set(str(value))) for variable, value in ((upload_id, upload), (task_id, task)) if value
    ]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


class RequestIdMiddleware:
    """Takes X-Request-ID from the proxy, or makes one, and answers with it."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        given = request.headers.get("X-Request-ID", "")
        mark = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        request_id.set(mark)
        if iscoroutinefunction(self.get_response):
            return self._answer_later(self.get_response(request), mark)
        return self._marked(self.get_response(request), mark)

    async def _answer_later(self, answer: Awaitable[HttpResponseBase], mark: str) -> HttpResponseBase:
        return self._marked(await answer, mark)

    def _marked(self, response: HttpResponseBase, mark: str) -> HttpResponseBase:
        response["X-Request-ID"] = mark
        return response
