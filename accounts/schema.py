"""What the OpenAPI schema says about signing in, and about problems."""

from collections.abc import Iterable, Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

PROBLEM = "application/problem+json"


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "For programs."}


class PageSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.PageSessionAuthentication"
    name = "page_session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "For our own pages; unsafe methods carry X-CSRFToken as well.",
        }


class ProblemSerializer(serializers.Serializer[dict[str, Any]]):
    """A problem document (RFC 9457); programs switch on `code`."""

    type = serializers.CharField(default="about:blank")
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="A stable word.")
    detail = serializers.CharField(help_text="A sentence for a person.")


def problems(answers: Mapping[int, Iterable[str]]) -> dict[tuple[int, str], OpenApiResponse]:
    """Error responses for `extend_schema`, by status: `problems({401: ["token_revoked"]})`."""
    return {
        (status, PROBLEM): OpenApiResponse(ProblemSerializer, description=" | ".join(f"`{code}`" for code in codes))
        for status, codes in answers.items()
    }
