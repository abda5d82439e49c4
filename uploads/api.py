"""The door for programs: who is asking, what was sent, do it, answer."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from accounts.models import Clinic, User
from accounts.schema import problems
from relaypacs.errors import NotAllowed, Rejected
from uploads import selectors
from uploads.pipeline import decisions, intake, manifest, receipt, synchronous
from uploads.serializers import (
    CompleteSerializer,
    ConfirmSerializer,
    FilesPageSerializer,
    OpenedSerializer,
    OpenUploadSerializer,
    TruthSerializer,
    UploadPageSerializer,
)

NOT_FOUND = problems({404: ["not_found"]})
DENIED = problems({401: ["not_authenticated", "token_invalid"], 403: ["forbidden"]})
CURSOR = OpenApiParameter("cursor", str, description="From `next` or `previous` of another page.")


class Door(APIView):
    """What every route here shares."""

    @property
    def user(self) -> User:
        user = self.request.user
        if not isinstance(user, User):
            raise NotAllowed("forbidden", "Please log in first.")
        return user


def checked(kind: type[Serializer[Any]], request: Request, *, code: str = "invalid_request") -> Mapping[str, Any]:
    """The body in the shape asked for, or Rejected with what is wrong with it."""
    serializer = kind(data=request.data or {})
    if not serializer.is_valid():
        raise Rejected(code, "The request has fields that cannot be used.", extra={"errors": serializer.errors})
    data: Mapping[str, Any] = serializer.validated_data
    return data


class Uploads(Door):
    """All uploads that the caller may see."""

    @extend_schema(
        operation_id="uploads_list",
        parameters=[
            OpenApiParameter("state", str, description="One state, or several with commas between."),
            OpenApiParameter("q", str, description="Name, id, accession number, UID or upload id."),
            CURSOR,
        ],
        responses={200: UploadPageSerializer, **problems({400: ["invalid_filter", "invalid_cursor"]}), **DENIED},
    )
    def get(self, request: Request) -> Response:
        """Lists uploads, newest first."""
        query = request.query_params
        page = selectors.list_uploads(
            self.user, state=query.get("state", ""), query=query.get("q", ""), cursor=query.get("cursor", "")
        )
        return Response({"results": page.results, "next": page.next, "previous": page.previous})

    @extend_schema(
        request=OpenUploadSerializer,
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
        responses={
            201: OpenedSerializer,
            200: OpenApiResponse(OpenedSerializer, description="The same Idempotency-Key and body as before."),
            **problems({400: ["invalid_manifest", "empty_upload", "clinic_required"]}),
            **problems({409: ["duplicate_study", "idempotency_conflict"]}),
            **problems({413: ["too_large"]}),
            **problems({507: ["no_space"]}),
            **DENIED,
        },
    )
    def post(self, request: Request) -> Response:
        """Opens an upload for a list of files."""
        data = checked(OpenUploadSerializer, request, code="invalid_manifest")
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 200 or "\x00" in key:
            raise Rejected("invalid_manifest", "Idempotency-Key may have 200 characters at most, and no NUL.")
        upload, new = intake.open_upload(
            self.user,
            manifest.read(data),
            clinic_id=clinic_id(data.get("clinic")),
            idempotency_key=key,
        )
        return Response(
            OpenedSerializer(upload).data,
            status=201 if new else 200,
            headers={"Location": f"/api/v1/uploads/{upload.pk}"},
        )


def clinic_id(given: str | None) -> uuid.UUID | None:
    """A clinic by its id or by its name; one that does not exist reads as one that is not the caller's."""
    if not given:
        return None
    try:
        return uuid.UUID(given)
    except ValueError:
        found = Clinic.objects.filter(name=given).values_list("pk", flat=True).first()
        return found or uuid.UUID(int=0)


class OneUpload(Door):
    """One upload."""

    @extend_schema(responses={200: TruthSerializer, **DENIED, **NOT_FOUND})
    def get(self, request: Request, upload_id: uuid.UUID) -> Response:
        """The truth about it."""
        return Response(selectors.truth(selectors.get_visible(self.user, upload_id)))

    @extend_schema(responses={204: None, **problems({409: ["wrong_state"]}), **DENIED, **NOT_FOUND})
    def delete(self, request: Request, upload_id: uuid.UUID) -> Response:
        """Cancels it; what a PACS already stored stays listed."""
        decisions.cancel(self.user, selectors.get_visible(self.user, upload_id))
        return Response(status=204)


class Files(Door):
    @extend_schema(parameters=[CURSOR], responses={200: FilesPageSerializer, **DENIED, **NOT_FOUND})
    def get(self, request: Request, upload_id: uuid.UUID) -> Response:
        """Its files, in the order of the manifest."""
        upload = selectors.get_visible(self.user, upload_id)
        results, after = selectors.files_page(upload, cursor=request.query_params.get("cursor", ""))
        return Response({"results": results, "next": after})


class Complete(Door):
    @extend_schema(
        request=CompleteSerializer,
        responses={
            202: TruthSerializer,
            **problems({409: ["chunks_missing", "digest_conflict", "wrong_state"]}),
            **problems({410: ["expired"]}),
            **DENIED,
            **NOT_FOUND,
        },
    )
    def post(self, request: Request, upload_id: uuid.UUID) -> Response:
        """Seals it: all chunks are here. Asking again is answered again."""
        upload = selectors.get_visible(self.user, upload_id)
        intake.may_change(self.user, upload)
        data = checked(CompleteSerializer, request)
        intake.complete(upload, data.get("files") or ())
        synchronous.run_if_asked(upload)
        return Response(selectors.truth(selectors.get_visible(self.user, upload_id)), status=202)


class Confirm(Door):
    @extend_schema(
        request=ConfirmSerializer,
        responses={
            200: TruthSerializer,
            **problems({400: ["decision_invalid", "reason_required"]}),
            **problems({409: ["wrong_state"]}),
            **DENIED,
            **NOT_FOUND,
        },
    )
    def post(self, request: Request, upload_id: uuid.UUID) -> Response:
        """Answers a hold."""
        data = checked(ConfirmSerializer, request, code="decision_invalid")
        upload = decisions.confirm(
            self.user,
            selectors.get_visible(self.user, upload_id),
            hold=data["hold"],
            decision=data["decision"],
            reason=data.get("reason", ""),
            files=data.get("files") or (),
        )
        return Response(selectors.truth(upload))


class Retry(Door):
    @extend_schema(
        request=None, responses={202: TruthSerializer, **problems({409: ["wrong_state"]}), **DENIED, **NOT_FOUND}
    )
    def post(self, request: Request, upload_id: uuid.UUID) -> Response:
        """Tries again what failed, or at once what waits."""
        upload = decisions.retry(self.user, selectors.get_visible(self.user, upload_id))
        return Response(selectors.truth(upload), status=202)


class ReceiptDocument(Door):
    @extend_schema(
        responses={
            (200, "application/pdf"): OpenApiTypes.BINARY,
            **problems({409: ["not_ready"]}),
            **DENIED,
            **NOT_FOUND,
        }
    )
    def get(self, request: Request, upload_id: uuid.UUID) -> HttpResponse:
        """The receipt of the state it is in, as PDF."""
        upload = selectors.get_visible(self.user, upload_id)
        response = HttpResponse(receipt.read(upload), content_type="application/pdf")
        response["Content-Disposition"] = f'inline; filename="relaypacs-receipt-{upload.pk}.pdf"'
        response["Cache-Control"] = "private, no-store"
        return response
