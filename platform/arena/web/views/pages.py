"""How every view answers: a page, or the one partial of it that the page asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from arena.web.gallery import Shown


def respond(request: HttpRequest, template: str, context: dict[str, Any], *, partial: str = "") -> HttpResponse:
    """Renders `template`, or only its partial of that name when HTMX asks for it."""
    asked = partial and request.headers.get("HX-Request") == "true"
    response = render(request, f"{template}#{partial}" if asked else template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def picture_of(pictures: Iterable[Shown], example: int, kind: str) -> HttpResponse:
    """One picture of one example. Raises Http404 for one that is not among them."""
    for shown in pictures:
        if shown.example == example and kind in shown.files:
            return HttpResponse(shown.files[kind], content_type="image/png")
    raise Http404("There is no such picture.")


def origin(request: HttpRequest) -> str:
    """Scheme and host of this site as the reader reached it."""
    return request.build_absolute_uri("/").rstrip("/")
