"""People and clinics, for the administrator. Nobody is deleted: what they did names them for ever."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts.forms import AdministratorSignInForm
from accounts.models import Clinic, Membership, Role, User
from accounts.people import give_or_take_administration, is_administrator

if TYPE_CHECKING:
    ClinicModelAdmin = admin.ModelAdmin[Clinic]
    UserModelAdmin = DjangoUserAdmin[User]
    MembershipTabularInline = admin.TabularInline[Membership, User]
    MembershipFormSet = BaseInlineFormSet[Membership, User, forms.ModelForm[Membership]]
    MembershipModelForm = forms.ModelForm[Membership]
else:
    ClinicModelAdmin, UserModelAdmin, MembershipTabularInline = admin.ModelAdmin, DjangoUserAdmin, admin.TabularInline
    MembershipFormSet, MembershipModelForm = BaseInlineFormSet, forms.ModelForm

admin.site.site_header = admin.site.site_title = "RelayPACS administration"
admin.site.index_title = "People, clinics, destinations"
admin.site.login_form = AdministratorSignInForm  # the one way in, with its second factor, also from here
admin.site.login_template = "accounts/login.html"
# What a person may do follows from memberships alone; a sign-in is ended by its owner or by deactivating its owner.
admin.site.unregister([Group, OutstandingToken, BlacklistedToken])


class MembershipForm(MembershipModelForm):
    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = super().clean() or {}
        role = sent.get("role")
        if role and role != Role.ADMIN and sent.get("clinic") is None and "clinic" not in self.errors:
            self.add_error("clinic", f"A {Role(role).label.lower()} works at a clinic; please choose it.")
        return sent


class Memberships(MembershipFormSet):
    """The roles of one person; `own` when the person edits herself."""

    own = False

    def clean(self) -> None:
        super().clean()
        if self.own and self.instance.is_administrator and not any(self._stays_administrator(f) for f in self.forms):
            raise ValidationError("You cannot take your own administration away; another administrator can.")

    def _stays_administrator(self, form: MembershipModelForm) -> bool:
        sent = getattr(form, "cleaned_data", {})
        return sent.get("role") == Role.ADMIN and not sent.get("DELETE")


class MembershipInline(MembershipTabularInline):
    model = Membership
    form = MembershipForm
    formset = Memberships
    extra = 0
    autocomplete_fields = ("clinic",)
    verbose_name_plural = "memberships: an administrator sees every clinic and these pages"

    def get_formset(self, request: HttpRequest, obj: User | None = None, **kwargs: Any) -> Any:
        own = obj is not None and obj.pk == request.user.pk
        return type("Memberships", (super().get_formset(request, obj, **kwargs),), {"own": own})


@admin.register(User)
class UserAdmin(UserModelAdmin):
    inlines = (MembershipInline,)
    list_display = ("username", "full_name", "email", "roles", "is_active", "last_login")
    list_filter = ("is_active", "memberships__role", ("memberships__clinic", admin.RelatedOnlyFieldListFilter))
    search_fields = ("username", "first_name", "last_name", "email", "memberships__clinic__name")
    search_help_text = "Name, e-mail address or clinic"
    readonly_fields = ("is_superuser", "last_login", "date_joined")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email", "is_active")}),
        (
            "What follows from it",
            {
                "fields": ("is_superuser", "last_login", "date_joined"),
                "description": "Whether these pages are open to somebody follows from an administrator's membership.",
            },
        ),
    )
    actions = ("deactivate", "activate")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("memberships__clinic")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        own = obj is not None and obj.pk == request.user.pk
        return (*self.readonly_fields, "is_active") if own else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        user: User = form.instance
        before = is_administrator(user)
        super().save_related(request, form, formsets, change)
        give_or_take_administration(user, before=before)

    @admin.display(description="name")
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        return ", ".join(str(membership) for membership in user.memberships.all())

    @admin.action(description="Deactivate: may no longer sign in, and every session and token ends")
    def deactivate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        others = users.exclude(username=request.user.get_username())
        if users.count() != others.count():
            self.message_user(request, "You cannot deactivate yourself.", messages.WARNING)
        self._tell(request, others.update(is_active=False), "deactivated")

    @admin.action(description="Activate: may sign in again")
    def activate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        self._tell(request, users.update(is_active=True), "activated")

    def _tell(self, request: HttpRequest, count: int, what: str) -> None:
        if count:
            self.message_user(request, f"{count} {'user' if count == 1 else 'users'} {what}.", messages.SUCCESS)


@admin.register(Clinic)
class ClinicAdmin(ClinicModelAdmin):
    list_display = ("name", "active", "batch_mode", "people", "created_at")
    list_filter = ("active", "batch_mode")
    search_fields = ("name",)
    readonly_fields = ("id", "created_at")
    fields = ("name", "active", "batch_mode", "id", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Clinic]:
        active = Count("memberships", filter=Q(memberships__user__is_active=True))
        return super().get_queryset(request).annotate(people_count=active)

    @admin.display(description="people", ordering="people_count")
    def people(self, clinic: Clinic) -> int:
        count: int = getattr(clinic, "people_count", 0)
        return count
