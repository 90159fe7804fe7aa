"""The app's registration."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """The site's pages."""

    name = "arena.web"
