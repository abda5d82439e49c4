"""The web door. Octets of a chunk stream to disk; Django's own handler would spool the whole body first."""

import asyncio
import io
import os
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "relaypacs.settings")


def is_chunk(scope: Any) -> bool:
    """A PUT to /api/v1/uploads/{id}/chunks/{n}: the only request whose body is octets."""
    return scope["method"] == "PUT" and "/chunks/" in scope["path"]


class StreamingHandler(ASGIHandler):
    """Django's handler, with the body of a chunk left on the wire for the view to take at the client's pace."""

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        if not is_chunk(scope):
            await super().handle(scope, receive, send)
            return
        # The view finds the wire in the scope. Django sees an empty body, and the watch for a disconnect, which
        # would eat octets, waits for ever: the view notices by itself when the client goes.
        scope["relaypacs.receive"] = receive
        await super().handle(scope, _never, send)

    async def read_body(self, receive: Any) -> Any:
        if receive is _never:
            return io.BytesIO()
        return await super().read_body(receive)


async def _never() -> Any:
    """A receive channel on which nothing comes."""
    await asyncio.Event().wait()


class Application:
    """Answers HTTP by Django and the server's start and stop by nothing."""

    def __init__(self) -> None:
        django.setup(set_prefix=False)
        self.http = StreamingHandler()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.http(scope, receive, send)


application = Application()
