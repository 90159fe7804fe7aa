"""Evaluations in the admin, to look at; the only action queues entries again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from arena.evaluations.models import Evaluation
from arena.evaluations.services import enqueue

if TYPE_CHECKING:  # the class takes no parameter at run time
    EvaluationAdminBase = admin.ModelAdmin[Evaluation]
else:
    EvaluationAdminBase = admin.ModelAdmin


@admin.register(Evaluation)
class EvaluationAdmin(EvaluationAdminBase):
    list_display = ("public_id", "submission", "state", "reason", "robust_accuracy", "created", "finished")
    list_filter = ("state", "current", "submission__challenge")
    list_select_related = ("submission",)
    search_fields = ("public_id", "submission__public_id", "submission__name")
    exclude = ("report",)
    actions = ("evaluate_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="Evaluate the selected entries again", permissions=["view"])
    def evaluate_again(self, request: HttpRequest, queryset: QuerySet[Evaluation]) -> None:
        for evaluation in queryset.filter(current=True).select_related("submission__challenge"):
            enqueue(submission=evaluation.submission)
