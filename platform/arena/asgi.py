"""The ASGI entry point: `uvicorn arena.asgi:application`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")

application = get_asgi_application()
