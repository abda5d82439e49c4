"""Destinations to manage, and uploads and deliveries to look at, for the administrator."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Case, Count, IntegerField, Model, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from uploads.models import KEPT, Answer, Delivery, Destination, Hold, LedgerEntry, Study, Transition, Upload
from uploads.pacs.address import WebPeer
from uploads.pacs.echo import echo
from uploads.pipeline import addressing, destinations
from uploads.selectors import search_words
from uploads.states import UNDECIDED

if TYPE_CHECKING:
    DeliveryModelAdmin = admin.ModelAdmin[Delivery]
    DestinationModelAdmin = admin.ModelAdmin[Destination]
    DestinationModelForm = forms.ModelForm[Destination]
    UploadModelAdmin = admin.ModelAdmin[Upload]
    PartInline = admin.TabularInline[Model, Upload]
else:
    DeliveryModelAdmin = DestinationModelAdmin = UploadModelAdmin = admin.ModelAdmin
    DestinationModelForm, PartInline = forms.ModelForm, admin.TabularInline

MOST_ECHOES = 5  # each may take its full time-out, and the page waits for all of them
MOST_ENTRIES = 200
PAUSED_BY_HAND = "Paused by {}."


# --- Destinations ----------------------------------------------------------------------------------------------------


class DestinationForm(DestinationModelForm):
    class Meta:
        model = Destination
        fields = ("name", "url", "active", "required", "max_associations")

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        addressing.check(url)
        return url


@admin.register(Destination)
class DestinationAdmin(DestinationModelAdmin):
    form = DestinationForm
    list_display = ("name", "url", "standing", "active", "required", "waiting", "last_success_at")
    list_filter = ("active", "required", "paused", ("down_since", admin.EmptyFieldListFilter))
    search_fields = ("name", "url")
    readonly_fields = ("standing", "last_error", "probe_at", "last_success_at", "id", "created_at")
    fieldsets = (
        (None, {"fields": ("name", "url", "active", "required", "max_associations")}),
        ("How it stands", {"fields": readonly_fields}),
    )
    actions = ("send_c_echo", "pause", "resume")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        waiting = Count("deliveries", filter=Q(deliveries__state__in=sorted(UNDECIDED)))
        return super().get_queryset(request).annotate(waiting_count=waiting)

    def save_model(self, request: HttpRequest, obj: Destination, form: Any, change: bool) -> None:
        if change:
            addressing.save(obj, form.changed_data)
        else:
            super().save_model(request, obj, form, change)

    @admin.display(description="state")
    def standing(self, destination: Destination) -> str:
        if destination.paused:
            return f"Paused. {destination.paused_because}".strip()
        if destination.down_since is not None:
            return f"Down since {date_format(destination.down_since, 'DATETIME_FORMAT')}"
        return "Up" if destination.last_success_at else "Not tried yet"

    @admin.display(description="deliveries under way", ordering="waiting_count")
    def waiting(self, destination: Destination) -> int:
        count: int = getattr(destination, "waiting_count", 0)
        return count

    @admin.action(description="Send a C-ECHO")
    def send_c_echo(self, request: HttpRequest, chosen: QuerySet[Destination]) -> None:
        for destination in chosen[:MOST_ECHOES]:
            self.message_user(request, *_echoed(destination))
        if chosen.count() > MOST_ECHOES:
            self.message_user(request, f"Only the first {MOST_ECHOES} were asked.", messages.WARNING)

    @admin.action(description="Pause: nothing is sent until it is resumed")
    def pause(self, request: HttpRequest, chosen: QuerySet[Destination]) -> None:
        for destination in chosen.filter(paused=False):
            destinations.pause(destination, PAUSED_BY_HAND.format(request.user.get_username()))
            self.log_change(request, destination, "Paused.")
            self.message_user(request, f"{destination} is paused; its studies wait.", messages.SUCCESS)

    @admin.action(description="Resume: what waits for it is sent")
    def resume(self, request: HttpRequest, chosen: QuerySet[Destination]) -> None:
        for destination in chosen:
            count = destinations.resume(destination, request.user if request.user.is_authenticated else None)
            self.log_change(request, destination, "Resumed.")
            again = f"; {count} paused {'delivery goes' if count == 1 else 'deliveries go'} on" if count else ""
            self.message_user(request, f"{destination} is resumed{again}.", messages.SUCCESS)


def _echoed(destination: Destination) -> tuple[str, int]:
    """What a C-ECHO found, as a sentence and its level. A destination that answers is no longer taken to be down."""
    peer = addressing.target_of(destination)
    if isinstance(peer, WebPeer):
        return f"{destination} is a DICOMweb service; those know no C-ECHO.", messages.WARNING
    answer = echo(peer)
    where = f"{destination} ({peer.called_ae} at {peer.host}:{peer.port}, called as {peer.calling_ae})"
    if not answer.ok:
        return f"{where}: {answer.detail} [{answer.code}]", messages.ERROR
    destinations.came_up(destination)
    return f"{where}: {answer.detail} It took {answer.milliseconds:.0f} ms.", messages.SUCCESS


# --- The truth, to look at -------------------------------------------------------------------------------------------


class ReadOnly:
    """What the journey writes, no hand rewrites; retention alone deletes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Part(ReadOnly, PartInline):
    extra = 0
    can_delete = False


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


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, DeliveryModelAdmin):
    list_display = ("id", "created_at", "upload", "destination_name", "required", "state", "proof", "due_at")
    list_filter = ("state", "proof", "required", "destination", "created_at")
    list_select_related = ("upload",)
    ordering = ("-created_at", "id")
    show_full_result_count = False
    search_fields = ("=upload__id", "=id", "=study__study_instance_uid")
    search_help_text = "Id of the delivery or of its upload, or StudyInstanceUID"
    readonly_fields = ("study_instance_uid", "counts", "ledger")
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
                )
            },
        ),
        ("What went wrong", {"fields": ("last_error_code", "last_error_detail", "failures", "questions")}),
        ("The next step", {"fields": ("due_at", "attempts", "crashes", "lease_owner", "lease_epoch", "lease_until")}),
        ("When", {"fields": ("created_at", "stored_at", "verified_at", "total_attempts")}),
        ("The ledger", {"fields": ("counts", "ledger")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows = super().get_queryset(request).select_related("upload", "study", "destination")
        return rows.defer("upload__declared_instances")

    @admin.display(description="StudyInstanceUID")
    def study_instance_uid(self, delivery: Delivery) -> str:
        return delivery.study.study_instance_uid

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


ROW = "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"


def _cells(entry: LedgerEntry) -> tuple[object, ...]:
    status = "" if entry.status is None else f"{entry.status:04X}"
    when = [date_format(at, "DATETIME_FORMAT") if at else "" for at in (entry.sent_at, entry.verified_at)]
    uid = entry.instance.sop_instance_uid
    return uid, Answer(entry.answer).label, status, entry.attempts, *when, entry.comment
