"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from arena.web.views.accounts import admin_log_in

urlpatterns = [
    path("admin/login/", admin_log_in),  # the admin has no log-in of its own: one door, with its limits
    path("admin/", admin.site.urls),
    path("api/v1/", include("arena.api.urls")),
    path("", include("arena.web.urls")),
]
