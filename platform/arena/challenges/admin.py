"""Challenges in the admin: packs are files, so only their being published can be changed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from arena.challenges.models import Challenge

if TYPE_CHECKING:  # the class takes no parameter at run time
    ChallengeAdminBase = admin.ModelAdmin[Challenge]
else:
    ChallengeAdminBase = admin.ModelAdmin


@admin.register(Challenge)
class ChallengeAdmin(ChallengeAdminBase):
    list_display = ("title", "slug", "published", "created")
    readonly_fields = ("slug", "title", "summary", "manifest", "readme", "digest", "rules_digest", "created", "revision")
