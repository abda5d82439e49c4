"""The schema: every route of the API is in it, with what it answers; nothing in it is guessed."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

OPEN = {"/api/v1/schema", "/api/v1/docs"}


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> list[str]:
    found = []
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += routes(pattern.url_patterns, path)
        else:
            found.append(re.sub(r"<\w+:(\w+)>", r"{\1}", path))
    return found


def schema() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def test_every_route_of_the_api_is_described() -> None:
    api = {route for route in routes(get_resolver().url_patterns) if route.startswith("/api/v1/")}
    assert api - OPEN == set(schema()["paths"])


def test_nothing_is_guessed() -> None:
    with GENERATOR_STATS.silence():
        GENERATOR_STATS.reset()
        schema()
        assert not GENERATOR_STATS, "run `manage.py spectacular --validate` to see what"


def test_schema_and_docs_are_open_and_fetch_nothing_from_elsewhere() -> None:
    client = Client()
    assert client.get("/api/v1/schema").status_code == 200
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "http://" not in page.content.decode()
    assert "https://" not in page.content.decode()
    assert "style-src 'self' 'unsafe-inline'" in page["Content-Security-Policy"]
    assert "script-src" not in page["Content-Security-Policy"]
