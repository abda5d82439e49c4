"""The JSON web tokens of programs: given at sign-in, rotated at each refresh, dead at once when they should be.

A sign-in is one row (simplejwt's OutstandingToken): its `jti` names the sign-in, its `token` is the id of the one
refresh token that is alive. The tokens themselves are stored nowhere. A rotation changes the row under a lock, so that
of twenty refreshes with one token one wins; a token that was rotated away and comes back later has been copied by
somebody, and ends the sign-in for all who hold it (RFC 9700, section 4.14.2).
"""

import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TypeVar

from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, Token
from rest_framework_simplejwt.utils import datetime_from_epoch, get_md5_hash_password

from accounts.models import Membership, User
from relaypacs.errors import RelayError

Kind = TypeVar("Kind", bound=Token)
SIGN_IN = "sid"  # the claim naming the sign-in, as OpenID Connect calls it


class RefreshToken(Token):
    """Without simplejwt's own blacklist check: that one looks before it locks."""

    token_type = "refresh"  # nosec B105
    lifetime = api_settings.REFRESH_TOKEN_LIFETIME


class TokenInvalid(RelayError):
    """Not a token of ours, or past its time."""

    status = 401

    def __init__(self) -> None:
        super().__init__("token_invalid", "This token is not valid; please log in again.")


class TokenRevoked(RelayError):
    """Once a token of ours, and dead: used, logged out, or its owner's password or standing has changed."""

    status = 401

    def __init__(self) -> None:
        super().__init__("token_revoked", "This token is no longer valid; please log in again.")


@dataclass(frozen=True)
class Pair:
    """What a program gets; both as they travel in the header and the body."""

    access: str
    refresh: str

    @property
    def expires_in(self) -> int:
        """Seconds that the access token lives."""
        return int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds())


def issue(user: User) -> Pair:
    """A first pair: the beginning of a sign-in."""
    refresh = _refresh_for(user, uuid.uuid4().hex)
    OutstandingToken.objects.create(
        user=user,
        jti=refresh[SIGN_IN],
        token=refresh["jti"],
        created_at=timezone.now(),
        expires_at=datetime_from_epoch(refresh["exp"]),
    )
    return _pair(user, refresh)


def rotate(raw: str) -> Pair:
    """The next pair for a refresh token, which is dead from now on; TokenInvalid or TokenRevoked."""
    asked_at = timezone.now()
    refresh = _read(RefreshToken, raw)
    with transaction.atomic():
        row = _locked(refresh)
        fresh = _rotated(row, refresh, asked_at)
    if fresh is None:
        raise TokenRevoked
    return fresh


def _rotated(row: OutstandingToken | None, refresh: Token, asked_at: datetime) -> Pair | None:
    if row is None or row.user is None or _ended(row) or not _still_theirs(row.user, refresh):
        return None
    if row.token != refresh["jti"]:
        # A program that asked twice at once lost a race against itself: it was under way when the token died.
        if row.created_at is None or row.created_at < asked_at:
            BlacklistedToken.objects.get_or_create(token=row)
        return None
    following = _refresh_for(row.user, row.jti)
    row.token, row.created_at = following["jti"], timezone.now()
    row.expires_at = datetime_from_epoch(following["exp"])
    row.save(update_fields=["token", "created_at", "expires_at"])
    return _pair(row.user, following)


def end(raw: str) -> None:
    """Ends the sign-in a refresh token belongs to, with all its tokens; what is no token of ours has no sign-in."""
    try:
        refresh = _read(RefreshToken, raw)
    except TokenInvalid:
        return
    with transaction.atomic():
        row = _locked(refresh)
        if row is not None:
            BlacklistedToken.objects.get_or_create(token=row)


# Every request of a program asks this, and every chunk: one statement, and none of it is compiled anew.
_HOLDER = """
SELECT {person}, {membership}
FROM token_blacklist_outstandingtoken AS sign_in
JOIN accounts_user AS person ON person.id = sign_in.user_id
LEFT JOIN accounts_membership AS membership ON membership.user_id = person.id
WHERE sign_in.jti = %s
AND NOT EXISTS (SELECT FROM token_blacklist_blacklistedtoken AS ended WHERE ended.token_id = sign_in.id)
"""


def holder(raw: str) -> User:
    """Who an access token speaks for, as of now; TokenInvalid also for a sign-in that has ended."""
    access = _read(AccessToken, raw)
    user = _signed_in(str(access.get(SIGN_IN, "")))
    if user is None or not _still_theirs(user, access):
        raise TokenInvalid
    return user


def _signed_in(sign_in: str) -> User | None:
    """The person of this sign-in, with the memberships at hand, if it has not ended."""
    person, membership = _columns(User), _columns(Membership)
    wanted = {
        name: ", ".join(f"{name}.{column}" for column in columns)
        for name, columns in (("person", person), ("membership", membership))
    }
    with connection.cursor() as cursor:
        cursor.execute(_HOLDER.format(**wanted), (sign_in,))
        rows = cursor.fetchall()
    if not rows:
        return None
    user = User.from_db("default", person, rows[0][: len(person)])
    theirs = [Membership.from_db("default", membership, row[len(person) :]) for row in rows if row[len(person)]]
    known = Membership.objects.filter(user=user)
    known._result_cache = theirs  # what prefetch_related does
    user._prefetched_objects_cache = {"memberships": known}  # type: ignore[attr-defined]
    return user


@cache
def _columns(kind: type[Model]) -> list[str]:
    return [field.attname for field in kind._meta.concrete_fields]


def _read(kind: type[Kind], raw: str) -> Kind:
    try:
        return kind(raw)  # type: ignore[arg-type]  # the encoded form is what it decodes
    except TokenError as error:
        raise TokenInvalid from error


def _locked(refresh: Token) -> OutstandingToken | None:
    return OutstandingToken.objects.select_for_update().filter(jti=refresh.get(SIGN_IN)).first()


def _ended(row: OutstandingToken) -> bool:
    return BlacklistedToken.objects.filter(token=row).exists()


def _still_theirs(user: User, token: Token) -> bool:
    """The person is the one named, is active, and has not changed the password since."""
    if not user.is_active or str(user.pk) != token.get(api_settings.USER_ID_CLAIM):
        return False
    told = str(token.get(api_settings.REVOKE_TOKEN_CLAIM, ""))
    return hmac.compare_digest(told, get_md5_hash_password(user.password))


def _refresh_for(user: User, sign_in: str) -> RefreshToken:
    refresh = RefreshToken.for_user(user)
    refresh[SIGN_IN] = sign_in
    return refresh


def _pair(user: User, refresh: RefreshToken) -> Pair:
    access = AccessToken.for_user(user)
    access[SIGN_IN] = refresh[SIGN_IN]
    return Pair(access=str(access), refresh=str(refresh))
