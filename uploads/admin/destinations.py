"""Destinations to manage: what they are, how they stand, and what can be done with them at once."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from uploads.admin import standing, testing
from uploads.admin.destination_form import DestinationForm, RouteForm
from uploads.models import Auth, Destination, Route
from uploads.pacs.address import AddressError, WebPeer
from uploads.pacs.echo import echo
from uploads.pipeline import addressing, destinations
from uploads.states import UNDECIDED, UploadState

if TYPE_CHECKING:
    DestinationModelAdmin = admin.ModelAdmin[Destination]
    RouteTabularInline = admin.TabularInline[Route, Destination]
else:
    DestinationModelAdmin, RouteTabularInline = admin.ModelAdmin, admin.TabularInline

MOST_ECHOES = 5  # each may take its full time-out, and the page waits for all of them
PAUSED_BY_HAND = "Paused by {}."
IN_THE_CLEAR = "The password goes over the network in the clear: the address begins with http://, not https://."

ADDRESS = ("name", "url", "active", "required", "max_associations")
SIGN_IN = ("auth", "auth_user", "new_secret", "clear_secret")
TLS = ("tls_ca", "tls_certificate", "new_key", "clear_key", "tls_server_name")
PROOF = ("proof_wanted", "query_url", "fetch_sample", "fetch_by")
ALLOWED = ("required_tags", "optional_classes", "outcome_rules", "transcode", "deidentified")
WHEN = ("relay_early", ("quiet_from", "quiet_until"), "quiet_zone")
STANDS = (
    "standing",
    "waiting",
    "certificates",
    "proof_offered",
    "probed_at",
    "last_error",
    "probe_at",
    "last_success_at",
    "id",
    "created_at",
)


class RouteInline(RouteTabularInline):
    model = Route
    form = RouteForm
    extra = 0
    autocomplete_fields = ("clinic",)
    verbose_name_plural = "routes: without any it gets every study; else those that one of these names"


@admin.register(Destination)
class DestinationAdmin(DestinationModelAdmin):
    form = DestinationForm
    inlines = (RouteInline,)
    list_display = (
        "name",
        "standing",
        "waiting",
        "certificates",
        "proof_offered",
        "required",
        "active",
        "url",
    )
    list_filter = ("active", "required", "paused", ("down_since", admin.EmptyFieldListFilter))
    search_fields = ("name", "url")
    readonly_fields = STANDS
    fieldsets = (
        (None, {"fields": ADDRESS}),
        ("How it stands", {"fields": STANDS}),
        (
            "Sign-in",
            {"fields": SIGN_IN, "description": "For a DICOMweb service. What is stored is sealed and never shown."},
        ),
        ("TLS", {"fields": TLS, "description": "For dicoms:// and https:// addresses. Certificates as PEM."}),
        ("Proof that it has a study", {"fields": PROOF}),
        ("What it may be sent, and what its answers mean", {"fields": ALLOWED}),
        ("When it may be sent to", {"fields": WHEN}),
    )
    actions = ("send_c_echo", "pause", "resume")
    change_form_template = "admin/uploads/destination/change_form.html"
    change_list_template = "admin/uploads/queue_link.html"

    class Media:
        css = {"all": ("css/admin.css",)}

    def get_urls(self) -> list[URLPattern]:
        test = self.admin_site.admin_view(lambda request, pk: testing.page(self, request, pk))
        return [path("<uuid:pk>/test/", test, name="uploads_destination_test"), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Destination | None = None) -> Any:
        """What is only being made does not stand anywhere yet."""
        return [one for one in self.fieldsets if obj is not None or one[1]["fields"] is not STANDS]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        open_ones = Q(deliveries__state__in=sorted(UNDECIDED)) & ~Q(deliveries__upload__state=UploadState.CANCELLED)
        return super().get_queryset(request).annotate(waiting_count=Count("deliveries", filter=open_ones))

    def save_model(self, request: HttpRequest, obj: Destination, form: Any, change: bool) -> None:
        if change:
            addressing.save(obj, form.changed_columns)
        else:
            super().save_model(request, obj, form, change)
        if obj.auth != Auth.NONE and obj.url.startswith("http://"):
            self.message_user(request, IN_THE_CLEAR, messages.WARNING)

    @admin.display(description="state")
    def standing(self, destination: Destination) -> SafeString:
        return standing.of(destination).badge()

    @admin.display(description="certificates", empty_value="none known")
    def certificates(self, destination: Destination) -> SafeString | None:
        found = standing.certificates(destination)
        return found.badge() if found else None

    @admin.display(description="proof offered")
    def proof_offered(self, destination: Destination) -> str:
        return standing.proof(destination)

    @admin.display(description="waiting", ordering="waiting_count")
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
    try:
        peer = addressing.target_of(destination)
    except AddressError as error:
        return f"{destination}: {error.detail} [{error.code}]", messages.ERROR
    if isinstance(peer, WebPeer):
        return f"{destination} is a DICOMweb service; those know no C-ECHO. Test it on its own page.", messages.WARNING
    answer = echo(peer)
    where = f"{destination} ({peer.called_ae} at {peer.host}:{peer.port}, called as {peer.calling_ae})"
    if not answer.ok:
        return f"{where}: {answer.detail} [{answer.code}]", messages.ERROR
    destinations.came_up(destination)
    return f"{where}: {answer.detail} It took {answer.milliseconds:.0f} ms.", messages.SUCCESS
