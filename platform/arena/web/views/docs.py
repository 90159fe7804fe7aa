"""The documentation: pages, search, and the library reference."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from arena.web.docs import pages, reference
from arena.web.docs.search import search


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What there is to read, and what holds the words that are looked for."""
    query = request.GET.get("q", "").strip()
    hits = search(query) if query else []
    return render(request, "web/docs/index.html", {"sections": pages.sections(), "query": query, "hits": hits})


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """One page."""
    found = pages.find(slug)
    if found is None:
        raise Http404("There is no such page.")
    return render(request, "web/docs/page.html", {"sections": pages.sections(), "page": found, "html": pages.html(found)})


@require_safe
def library(request: HttpRequest, name: str = "") -> HttpResponse:
    """The modules of the library, or one of them."""
    modules = reference.modules()
    if name and name not in modules:
        raise Http404("There is no such module.")
    found = {"sections": pages.sections(), "modules": list(modules), "module": modules.get(name)}
    return render(request, "web/docs/library.html", found)
