"""People and teams in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from arena.accounts.models import Team, User

if TYPE_CHECKING:  # the class takes no parameter at run time
    TeamAdminBase = admin.ModelAdmin[Team]
else:
    TeamAdminBase = admin.ModelAdmin


admin.site.register(User, UserAdmin)


@admin.register(Team)
class TeamAdmin(TeamAdminBase):
    list_display = ("name", "slug", "personal", "created")
    search_fields = ("name", "slug")
    filter_horizontal = ("members",)
