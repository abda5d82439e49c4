"""The door for people: the list, the upload page, the plain form, and the page of one upload."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from relaypacs.errors import NotAllowed, NotFound, RelayError
from uploads import selectors
from uploads.forms import LONGEST_HISTORY, ListFilter, PlainForm, clinics_of
from uploads.models import Upload
from uploads.pipeline import decisions, intake
from uploads.pipeline import receipt as receipts
from uploads.pipeline.plain_form import take_whole_files
from uploads.states import CANCELLABLE, ServiceLevel, UploadState

PAGE = 25
FILES_NAMED = 200


def _person(request: HttpRequest) -> User:
    """Who is asking; LoginRequiredMiddleware has let nobody else in."""
    return cast(User, request.user)


@never_cache
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """The uploads this person sees, newest first."""
    form = ListFilter(request.GET, label_suffix="")
    wanted = form.cleaned_data if form.is_valid() else {"state": "", "q": ""}
    page = selectors.list_uploads(
        _person(request),
        state=wanted["state"],
        query=wanted["q"],
        cursor=request.GET.get("cursor", ""),
        limit=PAGE,
    )
    filters = {name: value for name, value in wanted.items() if value}
    context = {
        "form": form,
        "uploads": page.results,
        "filtered": bool(filters),
        "newer": page.previous and urlencode({**filters, "cursor": page.previous}),
        "older": page.next and urlencode({**filters, "cursor": page.next}),
    }
    return render(request, "uploads/list.html", context)


@never_cache
@require_GET
def new(request: HttpRequest) -> HttpResponse:
    """The upload page; the rest happens in static/js/upload.js through the API."""
    user = _person(request)
    clinics = list(clinics_of(user))
    if not clinics:
        raise NotAllowed("forbidden", "You may look at uploads and not make new ones.")
    context = {
        "clinics": clinics,
        "levels": ServiceLevel.choices,
        "longest_history": LONGEST_HISTORY,
        "largest": settings.MAX_UPLOAD_BYTES,
        "form": PlainForm(user=user),
    }
    return render(request, "uploads/new.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
def plain(request: HttpRequest) -> HttpResponse:
    """The same with a plain form, for browsers that run no script."""
    user = _person(request)
    form = PlainForm(request.POST or None, request.FILES or None, user=user)
    if request.method == "POST" and form.is_valid():
        try:
            upload = _take(user, form.cleaned_data)
        except RelayError as error:
            form.add_error(None, error.detail)
        else:
            messages.success(request, "Received. It has not been delivered yet; this page says when it is.")
            return redirect("uploads:detail", upload.pk)
    context = {"form": form, "most_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES}
    return render(request, "uploads/plain.html", context, status=400 if form.errors else 200)


def _take(user: User, sent: Mapping[str, Any]) -> Upload:
    return take_whole_files(
        user,
        cast(Sequence[UploadedFile], sent["images"]),
        clinic_id=sent["clinic"].pk,
        service_level=sent["service_level"],
        clinical_history=sent["clinical_history"],
    )


@never_cache
@require_GET
def detail(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """Where one upload stands, how it came there, and what can be done."""
    user = _person(request)
    upload = selectors.get_visible(user, upload_id)
    truth = selectors.truth(upload)
    context = {
        "upload": truth,
        "clinic": upload.clinic.name,
        "final": truth["state"] in ("verified", "rejected", "cancelled", "expired"),
        "timeline": selectors.timeline(upload),
        "holds": _questions(user, upload, truth),
        **_abilities(user, upload, truth),
    }
    return render(request, "uploads/detail.html", context)


def _abilities(user: User, upload: Upload, truth: Mapping[str, Any]) -> dict[str, bool]:
    """What this person may do with it now; the verbs check it again."""
    may_change = _may_change(user, upload)
    waiting = any(row["state"] == "waiting" for row in truth["deliveries"])
    return {
        "may_change": may_change,
        "may_retry": may_change
        and (upload.state == UploadState.FAILED or (upload.state == UploadState.DELIVERING and waiting)),
        "may_cancel": may_change and upload.state in CANCELLABLE,
        "has_receipt": upload.receipts.filter(for_state=upload.state).exclude(rendered_at=None).exists(),
    }


def _may_change(user: User, upload: Upload) -> bool:
    try:
        intake.may_change(user, upload)
    except NotAllowed:
        return False
    return True


def _questions(user: User, upload: Upload, truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The open holds, with the names of the files in question and the answers this person may give."""
    wanted = {index for hold in truth["holds"] for index in hold["files"][:FILES_NAMED]}
    names = dict(upload.files.filter(index__in=wanted).values_list("index", "name"))
    return [
        hold
        | {
            "named": [{"index": index, "name": names.get(index, "")} for index in hold["files"][:FILES_NAMED]],
            "more": max(0, len(hold["files"]) - FILES_NAMED),
            "answers": _answers(user, hold),
            "study": _study_of(truth, hold),
        }
        for hold in truth["holds"]
    ]


def _answers(user: User, hold: Mapping[str, Any]) -> list[str]:
    answers = [choice for choice in hold["choices"] if choice != "exclude" or hold["files"]]
    if user.is_administrator and "proceed" not in answers:
        answers.insert(0, "proceed")
    return answers


def _study_of(truth: Mapping[str, Any], hold: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((s for s in truth["studies"] if s["study_instance_uid"] == hold["study_instance_uid"]), None)


@never_cache
@require_GET
def receipt(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """The printable account of where the upload stands."""
    upload = selectors.get_visible(_person(request), upload_id)
    response = HttpResponse(receipts.read(upload), content_type="application/pdf")
    response["Content-Disposition"] = f'inline; filename="receipt-{upload.pk}.pdf"'
    return response


@require_POST
def confirm(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """Answers a hold."""
    upload = selectors.get_visible(_person(request), upload_id)
    return _act(request, upload, lambda: _decide(request, upload), "The decision was written down.")


def _decide(request: HttpRequest, upload: Upload) -> None:
    try:
        hold = uuid.UUID(request.POST.get("hold", ""))
    except ValueError:
        raise NotFound("There is no such question.") from None
    decisions.confirm(
        _person(request),
        upload,
        hold=hold,
        decision=request.POST.get("decision", ""),
        reason=request.POST.get("reason", ""),
        files=request.POST.getlist("files"),
    )


@require_POST
def retry(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """Tries again what failed, or at once what waits."""
    user = _person(request)
    upload = selectors.get_visible(user, upload_id)
    return _act(request, upload, lambda: decisions.retry(user, upload), "It is being tried again.")


@require_POST
def cancel(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """Gives an upload up."""
    user = _person(request)
    upload = selectors.get_visible(user, upload_id)
    return _act(request, upload, lambda: decisions.cancel(user, upload), "The upload was cancelled.")


def _act(request: HttpRequest, upload: Upload, verb: Callable[[], object], done: str) -> HttpResponse:
    """Does it and goes back to the upload's page, which says what came of it."""
    try:
        verb()
    except RelayError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, done)
    return redirect("uploads:detail", upload.pk)
