"""Every address of the site."""

from __future__ import annotations

from importlib.util import find_spec

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("arena.api.urls")),
]
if find_spec("arena.web.urls"):
    urlpatterns.append(path("", include("arena.web.urls")))
