"""Challenges in the admin: packs are files, so only their being published can be changed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from arena.challenges.models import Challenge, PackProblem

if TYPE_CHECKING:  # the classes take no parameter at run time
    ChallengeAdminBase = admin.ModelAdmin[Challenge]
    PackProblemAdminBase = admin.ModelAdmin[PackProblem]
else:
    ChallengeAdminBase = PackProblemAdminBase = admin.ModelAdmin


@admin.register(Challenge)
class ChallengeAdmin(ChallengeAdminBase):
    list_display = ("title", "slug", "published", "pack", "created")
    readonly_fields = (
        "slug",
        "title",
        "summary",
        "pack",
        "folder",
        "manifest",
        "readme",
        "digest",
        "rules_digest",
        "created",
        "revision",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a challenge is made of files

    def has_delete_permission(self, request: HttpRequest, obj: Challenge | None = None) -> bool:
        return False  # its entries and their history would go with it; unpublish it

    @admin.display(description="pack")
    def pack(self, challenge: Challenge) -> str:
        """What became of the pack's folder since it was published."""
        problem = PackProblem.objects.filter(slug=challenge.slug).first()
        if problem is not None:
            return problem.what
        return f"its folder is gone since {challenge.gone:%Y-%m-%d}" if challenge.gone else "as published"


@admin.register(PackProblem)
class PackProblemAdmin(PackProblemAdminBase):
    """Wrong packs, those among them that were never published: mended in their files, not here."""

    list_display = ("slug", "what", "hidden", "since")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: PackProblem | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PackProblem | None = None) -> bool:
        return False
