"""What programs are told about signing in, in OpenAPI."""

from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from accounts import api_urls

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    with GENERATOR_STATS.silence():
        made: dict[str, Any] = SchemaGenerator(patterns=api_urls.urlpatterns).get_schema(request=None, public=True)
    return made


def test_it_is_valid_and_nothing_is_guessed(schema: dict[str, Any]) -> None:
    validate_schema(schema)
    assert not GENERATOR_STATS


@pytest.mark.parametrize(
    ("route", "method", "answers"),
    [
        ("/login", "post", {"200", "400", "401", "429"}),
        ("/refresh", "post", {"200", "400", "401"}),
        ("/logout", "post", {"204", "400"}),
        ("/me", "get", {"200", "401"}),
    ],
)
def test_every_answer_is_told_with_its_shape(
    schema: dict[str, Any], route: str, method: str, answers: set[str]
) -> None:
    told = schema["paths"][route][method]["responses"]
    assert set(told) == answers
    for status, answer in told.items():
        if status != "204":
            assert list(answer["content"]) == ["application/json" if status == "200" else "application/problem+json"]
    if "401" in told:
        assert "`" in told["401"]["description"]


def test_signing_in_needs_no_signing_in(schema: dict[str, Any]) -> None:
    assert schema["paths"]["/me"]["get"]["security"] == [{"bearer": []}, {"page_session": []}]
    for route in ("/login", "/refresh", "/logout"):
        assert not schema["paths"][route]["post"].get("security")


def test_fields_are_named_as_the_contract_names_them(schema: dict[str, Any]) -> None:
    shapes = schema["components"]["schemas"]
    assert set(shapes["Pair"]["properties"]) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert set(shapes["LoginRequest"]["required"]) == {"username", "password"}
    assert shapes["Membership"]["properties"]["clinic"]["format"] == "uuid"
