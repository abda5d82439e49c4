"""How a request to the API says who sends it: a bearer token (programs) or the session cookie (our own pages)."""

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from accounts import tokens
from accounts.models import User

REALM = "api"


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; a wrong one is an error, never a visitor without a name."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return tokens.holder(raw.strip()), raw.strip()

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{REALM}"'


class PageSessionAuthentication(SessionAuthentication):
    """The session of a signed-in person; unsafe methods need `X-CSRFToken`."""

    def authenticate_header(self, request: Request) -> str:
        return f'Session realm="{REALM}"'
