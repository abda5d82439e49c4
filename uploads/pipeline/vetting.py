"""What is typed about a destination is checked before it is kept, whichever door it came through."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ValidationError
from pydicom.datadict import tag_for_keyword

from relaypacs.sealing import SealBroken, seal, unseal
from uploads.models import Auth, Destination
from uploads.pacs import rules
from uploads.pacs.address import WebPeer
from uploads.pacs.optional import read_optional
from uploads.pacs.rows import RuleError
from uploads.pacs.security import Tls
from uploads.pacs.tls import TlsError, check
from uploads.pipeline import addressing

UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
NOTHING: Mapping[str, str] = MappingProxyType({})
RETYPE = "It was sealed with another SECRET_KEY; please type it again."
# which column a code of the TLS check is about, by the code's first word
TLS_COLUMNS = {"ca": "tls_ca", "certificate": "tls_certificate", "key": "tls_key", "server": "tls_server_name"}


def put(
    name: str, url: str, changes: Mapping[str, Any], *, secrets: Mapping[str, str] = NOTHING
) -> tuple[Destination, bool]:
    """Makes or updates the destination of this name; also tells whether it is new. ValidationError as `vet`.

    Args:
        changes: columns to set, and no others are touched.
        secrets: columns that are kept sealed, as they were typed.
    """
    destination = Destination.objects.filter(name=name).first()
    new, destination = destination is None, destination or Destination(name=name)
    typed = {"url": url, **changes, **_sealed(destination, secrets)}
    changed = {column for column, value in typed.items() if getattr(destination, column) != value}
    for column in changed:
        setattr(destination, column, typed[column])
    destination.clean_fields()
    vet(destination)
    if new:
        destination.save()
    else:
        addressing.save(destination, changed | {"certificates_end_at"})
    return destination, new


def _sealed(destination: Destination, secrets: Mapping[str, str]) -> dict[str, str]:
    """A seal differs each time; the same secret again is no change."""
    return {column: seal(secret) for column, secret in secrets.items() if not _is(destination, column, secret)}


def _is(destination: Destination, column: str, secret: str) -> bool:
    try:
        return unseal(getattr(destination, column)) == secret
    except SealBroken:
        return False


def vet(destination: Destination) -> None:
    """Raises ValidationError with a sentence for each column at fault; notes when the first certificate ends."""
    errors: dict[str, list[ValidationError]] = {}
    for one in CHECKS:
        try:
            one(destination)
        except ValidationError as error:
            for column, found in error.error_dict.items():
                errors.setdefault(column, []).extend(found)
    if errors:
        raise ValidationError(errors)


def _addresses(destination: Destination) -> None:
    for column in ("url", "query_url"):
        url = getattr(destination, column)
        if url or column == "url":
            try:
                addressing.check(url)
            except ValidationError as error:
                raise ValidationError({column: error}) from error


def _sign_in(destination: Destination) -> None:
    if destination.auth == Auth.NONE:
        return
    if not any(_is_web(url) for url in (destination.url, destination.query_url) if url):
        detail = "Only an http:// or https:// address takes a sign-in; DICOM has its AE titles."
        raise ValidationError({"auth": ValidationError(detail, code="auth_without_web")})
    if destination.auth == Auth.BASIC and not destination.auth_user:
        detail = "Which user name goes with the password?"
        raise ValidationError({"auth_user": ValidationError(detail, code="user_missing")})
    if not _opened(destination.auth_secret, "auth_secret"):
        detail = "This way of signing in needs a password or token, and none is stored."
        raise ValidationError({"auth_secret": ValidationError(detail, code="secret_missing")})


def _is_web(url: str) -> bool:
    try:
        return isinstance(addressing.check(url), WebPeer)
    except ValidationError:
        return True  # what is wrong with the address is told elsewhere


def _certificates(destination: Destination) -> None:
    tls = Tls(
        ca=destination.tls_ca,
        certificate=destination.tls_certificate,
        key=_opened(destination.tls_key, "tls_key"),
        server_name=destination.tls_server_name,
    )
    try:
        destination.certificates_end_at = check(tls).ends_at
    except TlsError as error:
        column = TLS_COLUMNS.get(error.code.split("_")[0], "tls_certificate")
        raise ValidationError({column: ValidationError(error.detail, code=error.code)}) from error


def _opened(sealed: str, column: str) -> str:
    try:
        return unseal(sealed)
    except SealBroken as error:
        raise ValidationError({column: ValidationError(RETYPE, code="secret_unreadable")}) from error


def _rules(destination: Destination) -> None:
    for column, read in (("outcome_rules", rules.read), ("optional_classes", read_optional)):
        try:
            read(getattr(destination, column))
        except RuleError as error:
            where = f"Row {error.row}: " if error.row else ""
            raise ValidationError({column: ValidationError(f"{where}{error.detail}", code=error.code)}) from error


def _tags(destination: Destination) -> None:
    if unknown := [word for word in destination.required_tags if tag_for_keyword(word) is None]:
        detail = f"DICOM knows no attribute {', '.join(unknown)}. Write keywords, as in PatientBirthDate."
        raise ValidationError({"required_tags": ValidationError(detail, code="keyword_unknown")})


def check_uid(uid: str) -> None:
    """A UID as PS3.5 9.1 has it; ValidationError for anything else."""
    if not UID.fullmatch(uid):
        raise ValidationError("This is no UID.", code="no_uid")


CHECKS: tuple[Callable[[Destination], None], ...] = (_addresses, _sign_in, _certificates, _rules, _tags)
