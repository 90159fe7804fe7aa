"""The ASGI entry point: `uvicorn arena.asgi:application`."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from arena.submissions.body_limit import FORM_BYTES, BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")

application = BodyLimit(get_asgi_application(), limit=settings.REDOUBT_UPLOAD_BYTES + FORM_BYTES)
