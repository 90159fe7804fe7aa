"""The guides."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What there is to read."""
    return render(request, "web/docs/index.html")


@require_safe
def defense(request: HttpRequest) -> HttpResponse:
    """How to write a defense."""
    return render(request, "web/docs/defense.html")


@require_safe
def scoring(request: HttpRequest) -> HttpResponse:
    """How scoring works."""
    return render(request, "web/docs/scoring.html")
