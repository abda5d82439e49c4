"""Deliveries, to look at with their ledgers, and the queue, where they are steered."""

from functools import partial
from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import Case, Count, IntegerField, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from uploads.admin import acts, queue
from uploads.admin.readonly import ReadOnly
from uploads.models import KEPT, Answer, Delivery, LedgerEntry

if TYPE_CHECKING:
    DeliveryModelAdmin = admin.ModelAdmin[Delivery]
else:
    DeliveryModelAdmin = admin.ModelAdmin

MOST_ENTRIES = 200
ROW = "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, DeliveryModelAdmin):
    list_display = ("id", "created_at", "upload", "destination_name", "required", "state", "proof", "due_at")
    list_filter = ("state", "proof", "required", "destination", "created_at")
    list_select_related = ("upload",)
    ordering = ("-created_at", "id")
    show_full_result_count = False
    change_list_template = "admin/uploads/queue_link.html"
    search_fields = ("=upload__id", "=id", "=study__study_instance_uid")
    search_help_text = "Id of the delivery or of its upload, or StudyInstanceUID"
    readonly_fields = ("study_instance_uid", "remarks", "counts", "ledger")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    "upload",
                    "study_instance_uid",
                    "destination",
                    "destination_name",
                    "required",
                    "state",
                    "proof",
                    "proof_detail",
                    "redirected_to",
                    "remarks",
                )
            },
        ),
        ("What went wrong", {"fields": ("last_error_code", "last_error_detail", "failures", "questions")}),
        ("The next step", {"fields": ("due_at", "attempts", "crashes", "lease_owner", "lease_epoch", "lease_until")}),
        ("When", {"fields": ("created_at", "stored_at", "verified_at", "total_attempts")}),
        ("The ledger", {"fields": ("counts", "ledger")}),
    )

    def get_urls(self) -> list[URLPattern]:
        """The queue's pages are this desk's, so that what is done there is in the deliveries' own histories."""
        pages = (
            ("queue/", queue.page, "queue"),
            ("queue/now/", queue.fragment, "queue_now"),
            ("queue/act/", acts.page, "act"),
        )
        own = [
            path(route, self.admin_site.admin_view(partial(view, self)), name=f"uploads_delivery_{name}")
            for route, view, name in pages
        ]
        return [*own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows = super().get_queryset(request).select_related("upload", "study", "destination")
        return rows.defer("upload__declared_instances")

    @admin.display(description="StudyInstanceUID")
    def study_instance_uid(self, delivery: Delivery) -> str:
        return delivery.study.study_instance_uid

    @admin.display(description="notes")
    def remarks(self, delivery: Delivery) -> SafeString | str:
        notes = ((note.get("detail", ""), note.get("instances", "")) for note in delivery.notes)
        return format_html_join("", "<p>{} ({} images)</p>", notes) or "none"

    @admin.display(description="instances by answer")
    def counts(self, delivery: Delivery) -> str:
        rows = delivery.entries.values_list("answer").annotate(count=Count("id")).order_by("answer")
        return ", ".join(f"{Answer(answer).label}: {count}" for answer, count in rows) or "none yet"

    @admin.display(description="instances, those not stored first")
    def ledger(self, delivery: Delivery) -> SafeString:
        """As a table, of the first MOST_ENTRIES."""
        kept = Case(When(answer__in=KEPT, then=Value(1)), default=Value(0), output_field=IntegerField())
        entries = delivery.entries.select_related("instance").order_by(kept, "id")[:MOST_ENTRIES]
        return format_html(
            "<table><thead><tr><th>SOPInstanceUID</th><th>Answer</th><th>Status</th><th>Attempts</th><th>Sent</th>"
            "<th>Verified</th><th>Comment</th></tr></thead><tbody>{}</tbody></table>",
            format_html_join("", ROW, (_cells(entry) for entry in entries)),
        )


def _cells(entry: LedgerEntry) -> tuple[object, ...]:
    status = "" if entry.status is None else f"{entry.status:04X}"
    when = [date_format(at, "DATETIME_FORMAT") if at else "" for at in (entry.sent_at, entry.verified_at)]
    uid = entry.instance.sop_instance_uid
    return uid, Answer(entry.answer).label, status, entry.attempts, *when, entry.comment
