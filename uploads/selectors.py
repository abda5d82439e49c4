"""Every read, each beginning with who is asking. What is not yours is not there."""

import base64
import binascii
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import connection
from django.db.models import Count, Prefetch, Q, QuerySet
from django.utils.dateparse import parse_datetime

from accounts.models import Role, User
from relaypacs.errors import NotFound, Rejected
from uploads.models import Delivery, Hold, Study, Upload, UploadFile
from uploads.states import UploadState
from uploads.truth import choices_for, missing_chunks, summaries, truth

__all__ = [
    "Page",
    "by_state",
    "choices_for",
    "files_page",
    "get_visible",
    "glance",
    "list_uploads",
    "missing_chunks",
    "sees",
    "timeline",
    "truth",
    "visible_to",
]


_UID = re.compile(r"\d+(\.\d+){2,}")
_INDEX = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Page:
    results: list[dict[str, Any]]
    next: str | None
    previous: str | None


def visible_to(user: User) -> QuerySet[Upload]:
    """Clinician: own uploads. Radiographer and radiologist: their clinics'. Administrator: all."""
    if user.is_administrator:
        return Upload.objects.all()
    whole = user.clinics_as(Role.RADIOGRAPHER, Role.RADIOLOGIST)
    own = user.clinics_as(Role.CLINICIAN)
    return Upload.objects.filter(Q(clinic__in=whole) | Q(clinic__in=own, created_by=user))


def sees(user: User, *, clinic_id: uuid.UUID, created_by_id: uuid.UUID) -> bool:
    """What `visible_to` says, of one upload whose row is there already."""
    return (
        user.is_administrator
        or clinic_id in user.clinics_as(Role.RADIOGRAPHER, Role.RADIOLOGIST)
        or (clinic_id in user.clinics_as(Role.CLINICIAN) and created_by_id == user.pk)
    )


def get_visible(user: User, upload_id: uuid.UUID) -> Upload:
    """The upload, if this person may see it; else NotFound, whether it exists or not."""
    upload = visible_to(user).filter(pk=upload_id).select_related("clinic", "created_by").first()
    if upload is None:
        raise not_yours()
    return upload


def not_yours() -> NotFound:
    return NotFound("There is no such upload, or it is not yours to see.")


_AT_A_GLANCE = frozenset(
    ("id", "clinic_id", "created_by_id", "state", "total_size", "chunk_size", "chunk_count", "expires_at")
)


def glance(user: User, upload_id: uuid.UUID) -> Upload:
    """As `get_visible`, and read is only what decides about a chunk: plainly, since each chunk asks."""
    columns = [field.attname for field in Upload._meta.concrete_fields if field.attname in _AT_A_GLANCE]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM uploads_upload WHERE id = %s", (upload_id,))  # nosec B608
        row = cursor.fetchone()
    upload = None if row is None else Upload.from_db("default", columns, row)
    if upload is None or not sees(user, clinic_id=upload.clinic_id, created_by_id=upload.created_by_id):
        raise not_yours()
    return upload


def list_uploads(user: User, *, state: str = "", query: str = "", cursor: str = "", limit: int = 25) -> Page:
    """A page of uploads, newest first. `state` may name several, with commas between.

    Raises:
        Rejected: invalid_filter.
    """
    rows = visible_to(user)
    states = [word for word in state.split(",") if word]
    if unknown := set(states) - set(UploadState.values):
        raise Rejected("invalid_filter", f"There is no state {min(unknown)!r}.")
    if states:
        rows = rows.filter(state__in=states)
    if query.strip():
        rows = rows.filter(_matches(query.strip()))
    return _page(rows, cursor, limit)


def _matches(query: str) -> Q:
    """By id of the upload, by a UID, or by the beginnings of words of name, id, accession and description."""
    try:
        return Q(pk=uuid.UUID(query))
    except ValueError:
        pass
    if _UID.fullmatch(query):
        return Q(pk__in=Study.objects.filter(study_instance_uid=query).values("upload_id"))
    studies = Study.objects.annotate(words=SearchVector("search_text", config="simple"))
    words = [f"'{word}':*" for word in search_words(query)]
    if not words:
        return Q(pk__in=[])
    search = SearchQuery(" & ".join(words), search_type="raw", config="simple")
    return Q(pk__in=studies.filter(words=search).values("upload_id"))


def search_words(text: str) -> list[str]:
    """The words of a search, as they stand in `Study.search_text`: lower case, letters and digits."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _page(rows: QuerySet[Upload], cursor: str, limit: int) -> Page:
    """Keyset paging on (created_at, id): the millionth page costs what the first does."""
    backwards, at, row_id = _read_cursor(cursor)
    if at is not None and not backwards:
        rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, pk__gt=row_id))
    elif at is not None:
        rows = rows.filter(Q(created_at__gt=at) | Q(created_at=at, pk__lt=row_id))
    order = ("created_at", "-id") if backwards else ("-created_at", "id")
    found = list(_with_parts(rows).order_by(*order)[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if backwards:
        found.reverse()
    has_next, has_previous = (True, more) if backwards else (more, at is not None)
    return Page(
        results=summaries(found),
        next=_cursor("n", found[-1]) if found and has_next else None,
        previous=_cursor("p", found[0]) if found and has_previous else None,
    )


def _with_parts(rows: QuerySet[Upload]) -> QuerySet[Upload]:
    deliveries = Delivery.objects.select_related("study", "destination")
    return rows.select_related("clinic", "created_by").prefetch_related(
        "studies", Prefetch("deliveries", queryset=deliveries), Prefetch("holds", queryset=Hold.objects.all())
    )


def _cursor(direction: str, upload: Upload) -> str:
    return base64.urlsafe_b64encode(
        json.dumps([direction, upload.created_at.isoformat(), str(upload.pk)]).encode()
    ).decode()


def _read_cursor(cursor: str) -> tuple[bool, datetime | None, uuid.UUID | None]:
    if not cursor:
        return False, None, None
    try:
        direction, at, row_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        moment = parse_datetime(at)
        if moment is None or moment.tzinfo is None or direction not in ("n", "p"):
            raise ValueError
        return direction == "p", moment.astimezone(UTC), uuid.UUID(str(row_id))
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
        raise Rejected("invalid_cursor", "This page link is not valid; please start at the first page.") from error


def files_page(upload: Upload, *, cursor: str = "", limit: int = 500) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the files of an upload, in the order of the manifest, and the next page's cursor."""
    if cursor and not _INDEX.fullmatch(cursor):
        raise Rejected("invalid_cursor", "This page link is not valid; please start at the first page.")
    rows = list(upload.files.filter(index__gte=int(cursor or 0)).order_by("index")[: limit + 1])
    after = str(rows[limit].index) if len(rows) > limit else None
    return [_file(row) for row in rows[:limit]], after


def _file(row: UploadFile) -> dict[str, Any]:
    return {
        "index": row.index,
        "name": row.name,
        "offset": row.offset,
        "size": row.size,
        "sha256": row.sha256 or row.declared_sha256 or None,
        "status": row.status,
        "problem": {"code": row.problem_code, "detail": row.problem_detail} if row.problem_code else None,
    }


def timeline(upload: Upload) -> list[dict[str, Any]]:
    """Every move of the upload and of its deliveries, oldest first; of a row of attempts that failed alike the first.

    That says how many `times`, and `until` when: a PACS that is away for a weekend is no news a hundred times.
    """
    rows = upload.transitions.select_related("delivery", "actor").order_by("id")
    return _folded(
        {
            "at": row.at,
            "subject": row.delivery.destination_name if row.delivery else "upload",
            "from": row.from_state,
            "to": row.to_state,
            "because": row.because,
            "actor": row.actor.get_username() if row.actor else "",
            "times": 1,
            "until": row.at,
            "delivery": row.delivery_id,
        }
        for row in rows
    )


def _folded(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where a delivery waits, sends and waits again for the same reason, by itself, the later two are counted only."""
    shown: dict[int, dict[str, Any]] = {}
    ways: dict[Any, list[int]] = {}
    for number, event in enumerate(events):
        shown[number] = event
        way = ways.setdefault(event["delivery"], [])
        way.append(number)
        first, *between = [shown[one] for one in way[-3:]]
        if [one["to"] for one in (first, *between)] != ["waiting", "sending", "waiting"] or any(
            one["actor"] or one["because"] not in ("", first["because"]) for one in between
        ):
            continue
        first["times"], first["until"] = first["times"] + 1, event["at"]
        for one in (way.pop(), way.pop()):
            del shown[one]
    return list(shown.values())


def by_state(user: User) -> dict[str, int]:
    """How many uploads this person sees in each state."""
    counts: Iterable[Any] = visible_to(user).values("state").annotate(n=Count("pk")).values_list("state", "n")
    return dict(counts)
