"""How every view answers: a page, or the one partial of it that the page asked for."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def respond(request: HttpRequest, template: str, context: dict[str, Any], *, partial: str = "") -> HttpResponse:
    """Renders `template`, or only its partial of that name when HTMX asks for it."""
    asked = partial and request.headers.get("HX-Request") == "true"
    response = render(request, f"{template}#{partial}" if asked else template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def origin(request: HttpRequest) -> str:
    """Scheme and host of this site as the reader reached it."""
    return request.build_absolute_uri("/").rstrip("/")
