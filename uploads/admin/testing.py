"""The page on which a destination is tested: every step in words, and every kind of image that it takes or refuses."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from pydicom.uid import UID

from uploads.admin import standing
from uploads.models import Destination
from uploads.pacs.address import AddressError
from uploads.pacs.probed import Finding, Probe, Subject
from uploads.pipeline import destinations, probing

if TYPE_CHECKING:
    DestinationModelAdmin = admin.ModelAdmin[Destination]
else:
    DestinationModelAdmin = admin.ModelAdmin

SUBJECTS: Mapping[Subject, str] = {
    Subject.CONNECT: "Name and connection",
    Subject.TLS: "TLS",
    Subject.ECHO: "Association and C-ECHO",
    Subject.PAIRS: "Kinds of image",
    Subject.FIND: "Query: C-FIND",
    Subject.COMMITMENT: "Storage commitment",
    Subject.GET: "Fetching back: C-GET",
    Subject.MOVE: "Fetching back: C-MOVE",
    Subject.CREDENTIALS: "Sign-in",
    Subject.STOW: "Storing: STOW-RS",
    Subject.QIDO: "Query: QIDO-RS",
    Subject.WADO: "Fetching back: WADO-RS",
}
# PS3.8 Table 9-18
RESULTS = {
    0: "taken",
    1: "refused by its user",
    2: "refused without a reason",
    3: "SOP class refused",
    4: "transfer syntax refused",
}
MUST = frozenset({Subject.CONNECT, Subject.TLS, Subject.ECHO, Subject.PAIRS, Subject.CREDENTIALS, Subject.STOW})


@dataclass(frozen=True, slots=True)
class Line:
    """One finding as the page shows it."""

    title: str
    tone: str
    word: str
    detail: str
    code: str
    milliseconds: float | None


@dataclass(frozen=True, slots=True)
class Class:
    """One SOP class, and the syntaxes that it is taken and refused in."""

    name: str
    uid: str
    taken: list[tuple[str, str]]
    refused: list[tuple[str, str, str]]

    @property
    def how_many(self) -> str:
        return f"{len(self.taken)} of {len(self.taken) + len(self.refused)} syntaxes"


def page(desk: DestinationModelAdmin, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Shows what the last test found; POST tests anew, which may take the better part of a minute."""
    destination = desk.get_object(request, str(pk))
    if destination is None:
        raise Http404
    if not desk.has_change_permission(request, destination):
        raise PermissionDenied
    found = _tested(desk, request, destination) if request.method == "POST" else None
    context = {
        **desk.admin_site.each_context(request),
        "opts": desk.opts,
        "title": f"Test of {destination}",
        "destination": destination,
        "back": reverse("admin:uploads_destination_change", args=[pk]),
        "lines": [_line(one) for one in found or ()],
        "classes": classes(found) if found else [],
        "found": found,
        "standing": standing.of(destination),
        "proof": standing.proof(destination),
        "known": _known(destination.offers),
    }
    return render(request, "admin/uploads/destination/test.html", context)


def _tested(desk: DestinationModelAdmin, request: HttpRequest, destination: Destination) -> Probe | None:
    try:
        found = probing.probe(destination)
    except AddressError as error:
        desk.message_user(request, f"{error.detail} [{error.code}]", messages.ERROR)
        return None
    desk.log_change(request, destination, "Tested.")
    if found.ok:
        destinations.came_up(destination)
        destination.refresh_from_db()
    return found


def _line(found: Finding) -> Line:
    if found.ok is None:
        tone, word = "idle", "not known"
    elif found.ok:
        tone, word = "good", "yes"
    else:
        tone, word = ("bad" if found.subject in MUST else "idle"), "no"
    return Line(SUBJECTS[found.subject], tone, word, found.detail, found.code, found.milliseconds)


def classes(found: Probe) -> list[Class]:
    """Those of which something is refused first; each with its syntaxes in words."""
    grouped: dict[str, Class] = {}
    for pair in found.pairs:
        one = grouped.setdefault(pair.sop_class_uid, Class(name_of(pair.sop_class_uid), pair.sop_class_uid, [], []))
        syntax = name_of(pair.transfer_syntax_uid), pair.transfer_syntax_uid
        if pair.accepted:
            one.taken.append(syntax)
        else:
            one.refused.append((*syntax, RESULTS.get(pair.result, f"refused ({pair.result})")))
    return sorted(grouped.values(), key=lambda one: (not one.refused, one.name))


def name_of(uid: str) -> str:
    """The Standard's name of a UID; a private one has none."""
    name = UID(uid).name
    return "Private" if name == uid else name


def _known(offers: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """The refusals that the last test has left with the destination."""
    rows = offers.get("refused", [])
    return [(name_of(row[0]), name_of(row[1]), RESULTS.get(row[2], str(row[2]))) for row in rows]
