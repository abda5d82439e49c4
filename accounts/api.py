"""The door for programs: sign in, refresh, sign out, and who am I."""

from typing import Any

from django.contrib.auth.models import update_last_login
from django.db.models import prefetch_related_objects
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from accounts import tokens
from accounts.models import User
from accounts.schema import problems
from accounts.serializers import LoginSerializer, MeSerializer, PairSerializer, RefreshTokenSerializer
from accounts.signin import sign_in


@method_decorator(never_cache, name="dispatch")
class OpenView(APIView):
    """Reached before anybody is known; a stale token in the header must not stop a new sign-in."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


@method_decorator(sensitive_post_parameters(), name="dispatch")
class LoginView(OpenView):
    @extend_schema(
        operation_id="auth_login",
        summary="Sign in",
        auth=[],
        tags=["auth"],
        request=LoginSerializer,
        responses={
            200: PairSerializer,
            **problems(
                {
                    400: ["invalid_request", "invalid_json"],
                    401: ["invalid_credentials", "otp_required", "otp_invalid"],
                    429: ["locked_out"],
                }
            ),
        },
    )
    def post(self, request: Request) -> Response:
        sent = _valid(LoginSerializer(data=request.data))
        user = sign_in(request._request, sent["username"], sent["password"], sent["otp"])
        update_last_login(User, user)
        return Response(PairSerializer(tokens.issue(user)).data)


class RefreshView(OpenView):
    @extend_schema(
        operation_id="auth_refresh",
        summary="Exchange a refresh token",
        description="The token sent is dead afterwards. One that was exchanged before ends the whole sign-in.",
        auth=[],
        tags=["auth"],
        request=RefreshTokenSerializer,
        responses={
            200: PairSerializer,
            **problems({400: ["invalid_request", "invalid_json"], 401: ["token_invalid", "token_revoked"]}),
        },
    )
    def post(self, request: Request) -> Response:
        sent = _valid(RefreshTokenSerializer(data=request.data))
        return Response(PairSerializer(tokens.rotate(sent["refresh_token"])).data)


class LogoutView(OpenView):
    @extend_schema(
        operation_id="auth_logout",
        summary="Sign out",
        description="Ends the sign-in with all its tokens, at once. Signing out twice is signing out.",
        auth=[],
        tags=["auth"],
        request=RefreshTokenSerializer,
        responses={204: None, **problems({400: ["invalid_request", "invalid_json"]})},
    )
    def post(self, request: Request) -> Response:
        sent = _valid(RefreshTokenSerializer(data=request.data))
        tokens.end(sent["refresh_token"])
        return Response(status=204)


@method_decorator(never_cache, name="dispatch")
class MeView(APIView):
    @extend_schema(
        operation_id="auth_me",
        summary="Who am I",
        tags=["auth"],
        responses={200: MeSerializer, **problems({401: ["not_authenticated", "token_invalid"]})},
    )
    def get(self, request: Request) -> Response:
        me = request.user
        if not isinstance(me, User):
            raise NotAuthenticated
        prefetch_related_objects([me], "memberships__clinic")
        return Response(MeSerializer(me).data)


def _valid(serializer: Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    sent: dict[str, Any] = serializer.validated_data
    return sent
