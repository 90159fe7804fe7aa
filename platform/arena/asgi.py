"""The ASGI entry point: `uvicorn arena.asgi:application`."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")
django = get_asgi_application()

from arena.serving.admission import OpenRequests  # noqa: E402
from arena.serving.body_limit import FORM_BYTES, BodyLimit  # noqa: E402  # needs the settings
from arena.web.streams import EventStreams  # noqa: E402

_limited = BodyLimit(django, limit=settings.REDOUBT_UPLOAD_BYTES + FORM_BYTES)
_bounded = OpenRequests(_limited, limit=settings.REDOUBT_OPEN_REQUESTS)
application = EventStreams(_bounded, limit=settings.REDOUBT_STREAMS)
