"""The Celery application of the production installation: `celery -A arena.celery worker`, beside `manage.py sweeper`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.production")

app = Celery("redoubt")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
