"""Uploads, to look at: whose they are, where they stand, what went wrong, and every move they made."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from uploads.admin.readonly import Part, ReadOnly
from uploads.models import Delivery, Hold, Study, Transition, Upload
from uploads.selectors import search_words

if TYPE_CHECKING:
    UploadModelAdmin = admin.ModelAdmin[Upload]
else:
    UploadModelAdmin = admin.ModelAdmin


class StudyInline(Part):
    model = Study
    fields = (
        "study_instance_uid",
        "patient_name",
        "patient_id",
        "birth_date",
        "accession_number",
        "study_date",
        "modalities",
        "instance_count",
    )


class DeliveryInline(Part):
    model = Delivery
    readonly_fields = ("study_instance_uid",)
    fields = (
        "study",
        "destination_name",
        "required",
        "state",
        "proof",
        "total_attempts",
        "due_at",
        "last_error_detail",
    )
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("study")

    @admin.display(description="StudyInstanceUID")
    def study_instance_uid(self, delivery: Delivery) -> str:
        return delivery.study.study_instance_uid


class HoldInline(Part):
    model = Hold
    fields = ("code", "detail", "study_instance_uid", "created_at", "decision", "reason", "decided_by", "decided_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("decided_by")


class TransitionInline(Part):
    model = Transition
    fields = ("at", "delivery", "from_state", "to_state", "because", "actor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("delivery", "actor")


@admin.register(Upload)
class UploadAdmin(ReadOnly, UploadModelAdmin):
    list_display = ("id", "created_at", "clinic", "created_by", "state", "service_level", "file_count", "size")
    list_filter = ("state", "clinic", "service_level", "deliveries__destination", "created_at")
    list_select_related = ("clinic", "created_by")
    ordering = ("-created_at", "id")
    show_full_result_count = False
    search_fields = ("id",)  # see get_search_results
    search_help_text = "Id of the upload; or words of clinic, patient's name, id, accession number or description"
    inlines = (StudyInline, DeliveryInline, HoldInline, TransitionInline)
    fieldsets = (
        (None, {"fields": ("id", "clinic", "created_by", "state", "service_level", "clinical_history")}),
        ("What went wrong", {"fields": ("problem_code", "problem_detail", "last_error_code", "last_error_detail")}),
        ("The pack", {"fields": ("total_size", "received_bytes", "chunk_size", "chunk_count", "file_count")}),
        ("The next step", {"fields": ("due_at", "attempts", "crashes", "lease_owner", "lease_epoch", "lease_until")}),
        (
            "When",
            {
                "fields": (
                    "created_at",
                    "last_chunk_at",
                    "expires_at",
                    "completed_at",
                    "delivered_at",
                    "verified_at",
                    "ended_at",
                    "pack_removed_at",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        return super().get_queryset(request).defer("declared_instances")  # one line for each instance

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Upload], search_term: str
    ) -> tuple[QuerySet[Upload], bool]:
        """Every word is found in one of the studies, or in the clinic's name; no row comes twice."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(pk=Upload._meta.pk.to_python(search_term.strip())), False
        except forms.ValidationError:
            words = search_words(search_term)
        studies = Study.objects.all()
        clinics = Q()
        for word in words:
            studies = studies.filter(search_text__contains=word)
            clinics &= Q(clinic__name__icontains=word)
        if not words:
            return queryset.none(), False
        return queryset.filter(clinics | Q(pk__in=studies.values("upload"))), False

    @admin.display(description="MB", ordering="total_size")
    def size(self, upload: Upload) -> str:
        return f"{upload.total_size / 1e6:,.1f}"
