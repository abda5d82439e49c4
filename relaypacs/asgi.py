"""The web door. Octets of a chunk stream to disk; Django's own handler would spool the whole body first."""

import os
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler

from relaypacs.short_way import ShortWay

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "relaypacs.settings")


class Application:
    """Answers HTTP by Django, chunks by the short way through it, and the server's start and stop by nothing."""

    def __init__(self) -> None:
        django.setup(set_prefix=False)
        self.http = ASGIHandler()
        self.chunks = ShortWay("api-chunk", method="PUT")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if match := self.chunks.match(scope):
            await self.chunks(match, scope, receive, send)
        else:
            await self.http(scope, receive, send)


application = Application()
