"""Machines in quarantine, to look at in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from arena.jobs.models import Quarantine

if TYPE_CHECKING:  # the class takes no parameter at run time
    QuarantineAdminBase = admin.ModelAdmin[Quarantine]
else:
    QuarantineAdminBase = admin.ModelAdmin


@admin.register(Quarantine)
class QuarantineAdmin(QuarantineAdminBase):
    """Machines that take no work, and why; each comes back by itself once its self-check passes."""

    list_display = ("machine", "challenge", "reason", "since", "check_after")
    list_select_related = ("challenge",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
