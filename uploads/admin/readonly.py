"""Rows to look at: what the journey writes, no hand rewrites; retention alone deletes."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from uploads.models import Upload

if TYPE_CHECKING:
    PartInline = admin.TabularInline[Model, Upload]
else:
    PartInline = admin.TabularInline


class ReadOnly:
    """Nothing is added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Part(ReadOnly, PartInline):
    """What hangs on an upload, on the upload's own page."""

    extra = 0
    can_delete = False
